// The operator's own tests, natively: `make test`.
#include "../src/operator.cpp"

#include "cofferdam_test.h"

int main(void) {
    cfd_test_open("{}");
    cfd_test_tumbling(1000);
    cfd_test_record("x", "a", 0);
    cfd_test_record("x", "a", 999);
    cfd_test_record("x", "a", 1000);
    CFD_EXPECT(cfd_test_run());
    CFD_EXPECT_NO_VALUES(0);
    CFD_EXPECT(cfd_test_watermark(999));
    CFD_EXPECT_VALUES(0, "{\"key\":\"a\",\"window_start\":0,\"window_end\":1000,\"count\":2}");
    cfd_test_clear();
    CFD_EXPECT(cfd_test_close());
    CFD_EXPECT_VALUES(0, "{\"key\":\"a\",\"window_start\":1000,\"window_end\":2000,\"count\":1}");
    return cfd_test_end();
}
