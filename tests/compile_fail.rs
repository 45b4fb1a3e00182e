//! Mistakes that the compiler finds, with messages that say what to add. `TRYBUILD=overwrite` writes the
//! expected messages anew, after a change of the compiler's words or of a door that they quote.

#[test]
fn mistakes_are_compile_errors_that_say_what_to_add() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
