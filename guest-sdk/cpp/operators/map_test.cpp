// The operator's own tests, natively: `make test`.
#include "../src/operator.cpp"

#include "cofferdam_test.h"

int main(void) {
    cfd_test_open("{}");
    cfd_test_record("card 4711, 1 item", "k", 7);
    CFD_EXPECT(cfd_test_run());
    CFD_EXPECT_VALUES(0, "card ####, # item");
    CFD_EXPECT_TEXT(cfd_test.outputs[0].key, "k");
    CFD_EXPECT(cfd_test.outputs[0].time.ms == 7);
    return cfd_test_end();
}
