use std::fs;

use super::*;

const ENCRYPT: Direction = Direction::Encrypt;
const DECRYPT: Direction = Direction::Decrypt;

#[test]
fn the_output_follows_the_input_unless_it_is_named() {
    let of = |direction, input: Option<&str>, output: Option<&str>| {
        decide(direction, input.map(Path::new), output.map(Path::new), false)
    };
    let file = |path: &str| Destination::File(path.into());
    for (direction, input, output, expected) in [
        (ENCRYPT, None, None, Destination::Stdout),
        (ENCRYPT, Some("a"), Some("-"), Destination::Stdout),
        (ENCRYPT, None, Some("b"), file("b")),
        (ENCRYPT, Some("a.pdf"), None, file("a.pdf.cs")),
        (ENCRYPT, Some("a.cs"), None, file("a.cs.cs")),
        (DECRYPT, Some("d.cs/a.pdf.cs"), None, file("d.cs/a.pdf")),
        (DECRYPT, Some("a"), Some("b.cs"), file("b.cs")),
        (DECRYPT, None, None, Destination::Stdout),
    ] {
        assert_eq!(of(direction, input, output).ok(), Some(expected), "{input:?} {output:?}");
    }
    for nameless in ["a.pdf", ".cs", "a.CS", "acs"] {
        assert!(matches!(of(DECRYPT, Some(nameless), None), Err(Error::NoSuffix(_))), "{nameless}");
    }
}

#[test]
fn a_terminal_gets_no_ciphertext_and_a_plaintext_only_if_asked() {
    let of = |direction, output: Option<&str>| decide(direction, None, output.map(Path::new), true);
    assert!(matches!(of(ENCRYPT, None), Err(Error::Terminal(_))));
    assert!(matches!(of(ENCRYPT, Some("-")), Err(Error::Terminal(_))));
    assert!(matches!(of(DECRYPT, None), Err(Error::Terminal(_))));
    assert_eq!(of(DECRYPT, Some("-")).ok(), Some(Destination::Stdout));
    assert!(of(ENCRYPT, Some("a")).is_ok());
}

/// A directory with a file `in`, which is open.
fn directory() -> (tempfile::TempDir, Input) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("in");
    fs::write(&path, "in").expect("writable");
    let input = Input::open(Some(&path)).expect("it is there");
    (directory, input)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into_string();
    let mut names: Vec<_> = entries.map(|entry| name(entry).expect("UTF-8")).collect();
    names.sort();
    names
}

#[test]
fn nothing_but_a_regular_file_is_replaced_and_that_only_by_force() {
    let (directory, input) = directory();
    let path = |name| directory.path().join(name);
    fs::create_dir(path("dir")).expect("writable");
    fs::write(path("old"), "old").expect("writable");
    fs::hard_link(path("in"), path("hard-link")).expect("writable");
    std::os::unix::fs::symlink("in", path("link")).expect("writable");
    let create = |to: PathBuf, force| Output::create(ENCRYPT, Destination::File(to), &input, force);
    for force in [false, true] {
        for same in ["in", "link", "hard-link", "dir/../in"] {
            assert!(matches!(create(path(same), force), Err(Error::SameFile(_))), "{same}");
        }
        for special in [path("dir"), "/dev/null".into()] {
            assert!(matches!(create(special, force), Err(Error::NotAFile(_))));
        }
        assert!(matches!(create(path("missing/out"), force), Err(Error::Output(_))));
    }
    assert!(matches!(create(path("old"), false), Err(Error::Exists(_))));
    assert!(create(path("old"), true).is_ok());
    assert_eq!(names(directory.path()), ["dir", "hard-link", "in", "link", "old"]);
}

#[test]
fn a_file_that_appears_meanwhile_is_not_replaced() {
    let (directory, input) = directory();
    let path = directory.path().join("out");
    let create = |force| Output::create(ENCRYPT, Destination::File(path.clone()), &input, force);
    let output = create(false).expect("there is none");
    fs::write(&path, "theirs").expect("writable");
    assert!(matches!(output.keep(), Err(Error::Exists(_))));
    assert_eq!(fs::read(&path).expect("theirs"), b"theirs");
    create(true).and_then(Output::keep).expect("replaced by force");
    assert_eq!(fs::read(&path).expect("ours"), b"");
    assert_eq!(names(directory.path()), ["in", "out"]);
}

#[test]
fn a_link_stays_and_its_target_is_replaced() {
    let (directory, input) = directory();
    let path = |name| directory.path().join(name);
    fs::write(path("old"), "old").expect("writable");
    std::os::unix::fs::symlink("old", path("link")).expect("writable");
    let output = Output::create(ENCRYPT, Destination::File(path("link")), &input, true);
    output.and_then(Output::keep).expect("replaced by force");
    assert!(path("link").is_symlink());
    assert_eq!(fs::read(path("old")).expect("the target"), b"");
}

#[test]
fn a_plaintext_is_for_its_owner_only() {
    let (directory, input) = directory();
    for (direction, name) in [(ENCRYPT, "ciphertext"), (DECRYPT, "plaintext")] {
        let path = directory.path().join(name);
        let output = Output::create(direction, Destination::File(path), &input, false);
        output.and_then(Output::keep).expect("there is none");
    }
    let mode = |name| fs::metadata(directory.path().join(name)).expect("kept").permissions().mode() & 0o777;
    // As this process' umask has it, which is that of the input too.
    assert_eq!(mode("ciphertext"), mode("in"));
    assert_eq!(mode("plaintext"), 0o600);
}
