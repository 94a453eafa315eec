//! What fuzzers found, tried again: every byte string of `fuzz/corpus`.
use std::path::Path;
use std::{fs, panic};

use drover_tests::fuzz::ALL;

#[test]
fn every_promise_holds_for_every_byte_string_of_the_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, check) in ALL {
        let mut files = 0;
        for file in fs::read_dir(corpus.join(name)).expect("each target has a corpus") {
            let path = file.expect("a directory can be read").path();
            let bytes = fs::read(&path).expect("a file can be read");
            let checked = panic::catch_unwind(|| check(&bytes));
            assert!(checked.is_ok(), "{} does not hold for {}", name, path.display());
            files += 1;
        }
        assert!(0 < files, "a corpus of nothing proves nothing: {name}");
    }
}
