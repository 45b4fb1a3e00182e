//! Mistakes that the compiler finds, with messages that say what to add.

#[test]
fn mistakes_are_compile_errors_that_say_what_to_add() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
