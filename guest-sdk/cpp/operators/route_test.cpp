// The operator's own tests, natively: `make test`.
#include "../src/operator.cpp"

#include "cofferdam_test.h"

int main(void) {
    cfd_test_open("{}");
    cfd_test_record("{\"a\":1}", "k", 0);
    cfd_test_record("text", "k", 1);
    cfd_test_record("", "k", 2);
    CFD_EXPECT(cfd_test_run());
    CFD_EXPECT_VALUES(Route::objects, "{\"a\":1}");
    CFD_EXPECT_VALUES(Route::others, "text");
    CFD_EXPECT(cfd_test.rejected_len == 1 && cfd_test.rejected[0].index == 2);
    CFD_EXPECT_TEXT(cfd_test.rejected[0].reason, "the value is empty");
    return cfd_test_end();
}
