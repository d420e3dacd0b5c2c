/* The operator's own tests, natively: `make test`. */
#include "../src/operator.c"

#include "cofferdam_test.h"

int main(void) {
    cfd_test_open("{}");
    cfd_test_record("x", "a", 0);
    cfd_test_record("x", "b\"", 1);
    CFD_EXPECT(cfd_test_run());
    cfd_test_record("x", "a", 2);
    CFD_EXPECT(cfd_test_run());
    CFD_EXPECT_VALUES(0, "{\"key\":\"a\",\"count\":1}", "{\"key\":\"b\\\"\",\"count\":1}", "{\"key\":\"a\",\"count\":2}");
    CFD_EXPECT(cfd_test_states() == 2);

    cfd_test_bytes(CFD_TEXT("x"), CFD_TEXT("\xff"), cfd_at(3));
    CFD_EXPECT(cfd_test_run());
    CFD_EXPECT_TEXT(cfd_test.rejected[0].reason, "the key is not UTF-8");
    CFD_EXPECT(cfd_test_states() == 2);
    return cfd_test_end();
}
