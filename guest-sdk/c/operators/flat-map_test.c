/* The operator's own tests, natively: `make test`. */
#include "../src/operator.c"

#include "cofferdam_test.h"

int main(void) {
    cfd_test_open("{}");
    cfd_test_record("To be  or", "k", 7);
    CFD_EXPECT(cfd_test_run());
    CFD_EXPECT_VALUES(0, "To", "be", "or");
    CFD_EXPECT_TEXT(cfd_test.outputs[0].key, "to");
    CFD_EXPECT(cfd_test.outputs[2].time.ms == 7);
    return cfd_test_end();
}
