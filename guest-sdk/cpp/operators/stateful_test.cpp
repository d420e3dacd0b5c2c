// The operator's own tests, natively: `make test`.
#include "../src/operator.cpp"

#include "cofferdam_test.h"

int main(void) {
    cfd_test_open("{}");
    cfd_test_record("abc", "k", 0);
    cfd_test_record("de", "k", 1);
    CFD_EXPECT(cfd_test_run());
    CFD_EXPECT_VALUES(0, "3", "5");

    cfd_bytes state = cfd_test_snapshot();
    cfd_test_open("{}");
    CFD_EXPECT(cfd_test_restore(state));
    cfd_test_record("f", "k", 2);
    CFD_EXPECT(cfd_test_run());
    CFD_EXPECT_VALUES(0, "6");
    CFD_EXPECT(!cfd_test_restore(CFD_TEXT("?")));
    return cfd_test_end();
}
