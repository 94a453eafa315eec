//! What fuzzers found, tried again: every byte string of `fuzz/corpus`, and the examples, which are seeds
//! of job files.
use std::path::Path;
use std::{fs, panic};

use drover_tests::fuzz::ALL;

#[test]
fn every_promise_holds_for_every_byte_string_of_the_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let files_in = |folder: &str| {
        let files = fs::read_dir(root.join(folder)).expect("each target has a corpus");
        files.map(|file| file.expect("a directory can be read").path()).collect::<Vec<_>>()
    };
    for (name, check) in ALL {
        let mut files = 0;
        let examples = if name == "jobspec" { files_in("examples") } else { Vec::new() };
        for path in files_in(&format!("fuzz/corpus/{name}")).into_iter().chain(examples) {
            let bytes = fs::read(&path).expect("a file can be read");
            let checked = panic::catch_unwind(|| check(&bytes));
            assert!(checked.is_ok(), "{} does not hold for {}", name, path.display());
            files += 1;
        }
        assert!(0 < files, "a corpus of nothing proves nothing: {name}");
    }
}
