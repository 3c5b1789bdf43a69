//! The transcripts of `docs/CLI.md`: commands, their output, their exit codes.

#[test]
fn transcripts() {
    trycmd::TestCases::new()
        .case("tests/transcripts/*.trycmd")
        .timeout(core::time::Duration::from_secs(60));
}
