/* The operator's own tests, natively: `make test`. */
#include "../src/operator.c"

#include "cofferdam_test.h"

int main(void) {
    CFD_EXPECT(cfd_test_open("{\"timeout_ms\":100}"));
    cfd_test_record("x", "a", 0);
    cfd_test_record("x", "a", 50);
    CFD_EXPECT(cfd_test_run());
    CFD_EXPECT(cfd_test_timers() == 1);
    CFD_EXPECT(cfd_test_watermark(149));
    CFD_EXPECT_NO_VALUES(0);
    CFD_EXPECT(cfd_test_watermark(150));
    CFD_EXPECT_VALUES(0, "{\"key\":\"a\",\"idle_since\":50,\"records\":2}");
    CFD_EXPECT(cfd_test_states() == 0 && cfd_test_timers() == 0);

    CFD_EXPECT(!cfd_test_open("{\"timeout_ms\":\"soon\"}"));
    CFD_EXPECT_TEXT(cfd_test.error, "config: timeout_ms is no integer: soon");
    return cfd_test_end();
}
