// The operator's own tests, natively: `make test`.
#include "../src/operator.cpp"

#include "cofferdam_test.h"

int main(void) {
    CFD_EXPECT(!cfd_test_open("{}"));
    CFD_EXPECT_TEXT(cfd_test.error, "config: greeting is missing");

    CFD_EXPECT(cfd_test_open("{\"greeting\":\"hello\"}"));
    CFD_EXPECT_TEXT(cfd_test.log[0].text, "hello, subtask 0 of 1");
    cfd_test_record("a", "k", 0);
    cfd_test_record("bcd", "k", 1);
    CFD_EXPECT(cfd_test_run());
    CFD_EXPECT_VALUES(0, "a", "bcd");
    CFD_EXPECT_TEXT(cfd_test.log[1].text, "record 2: bcd");
    CFD_EXPECT(cfd_test_metric("records") == 2);
    CFD_EXPECT(cfd_test_metric("value_bytes") == 4);
    CFD_EXPECT(cfd_test_metric("last_value_bytes") == 3);
    return cfd_test_end();
}
