// The operator's own tests, natively: `make test`.
#include "../src/operator.cpp"

#include "cofferdam_test.h"

int main(void) {
    cfd_test_open("{}");
    cfd_test_session(10);
    cfd_test_record("1", "a", 0);
    cfd_test_record("2", "a", 15);
    cfd_test_record("many", "a", 16);
    CFD_EXPECT(cfd_test_run());
    CFD_EXPECT_TEXT(cfd_test.rejected[0].reason, "not a number");
    // A record between two sessions makes them one.
    cfd_test_record("4", "a", 8);
    CFD_EXPECT(cfd_test_run());
    CFD_EXPECT(cfd_test_close());
    CFD_EXPECT_VALUES(0, "{\"key\":\"a\",\"sum\":7,\"count\":3}");
    return cfd_test_end();
}
