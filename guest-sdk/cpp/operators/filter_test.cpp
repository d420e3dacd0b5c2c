// The operator's own tests, natively: `make test`.
#include "../src/operator.cpp"

#include "cofferdam_test.h"

int main(void) {
    CFD_EXPECT(cfd_test_open("{\"contains\":\"x\"}"));
    cfd_test_record("an x", "k", 0);
    cfd_test_record("none", "k", 1);
    cfd_test_record("x", "k", 2);
    CFD_EXPECT(cfd_test_run());
    CFD_EXPECT_VALUES(0, "an x", "x");

    // Without a config it looks for errors.
    CFD_EXPECT(cfd_test_open("{}"));
    cfd_test_record("no errors so far", "k", 0);
    cfd_test_record("all is well", "k", 0);
    CFD_EXPECT(cfd_test_run());
    CFD_EXPECT_VALUES(0, "no errors so far");
    return cfd_test_end();
}
