#![doc = include_str!("../docs/rfc.md")]

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    const PAGE: &str = include_str!("../docs/rfc.md");

    /// Where a test that the page names may be, from the root of the repository.
    const SOURCES: [&str; 4] = ["stack/tcp", "stack/src", "stack/tests", "shim"];

    /// What a row without a test must say.
    const EXCUSES: [&str; 2] = ["not met", "its own to heed"];

    /// One line of a table.
    struct Row {
        clause: &'static str,
        requirement: &'static str,
        code: &'static str,
        tests: &'static str,
    }

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    fn rows() -> Vec<Row> {
        let lines = PAGE.lines().filter(|line| line.starts_with("| ") && !line.contains("---"));
        let rows = lines.map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [clause, requirement, code, tests] = cells[..] else { panic!("not four cells: {line}") };
            Row { clause, requirement, code, tests }
        });
        rows.filter(|row| row.requirement != "requirement" && row.requirement != "what happens").collect()
    }

    /// What stands between backquotes.
    fn spans(text: &str) -> impl Iterator<Item = &str> {
        text.split('`').skip(1).step_by(2)
    }

    fn is_word(letter: char) -> bool {
        letter.is_alphanumeric() || letter == '_'
    }

    /// The names of all tests below a directory.
    fn tests_below(directory: &Path, names: &mut HashSet<String>) {
        for entry in fs::read_dir(directory).expect("a source directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                tests_below(&path, names);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                let functions = text.split("#[test]").skip(1).filter_map(|rest| rest.split("fn ").nth(1));
                names.extend(
                    functions
                        .filter_map(|rest| rest.split(|letter| !is_word(letter)).next())
                        .map(String::from),
                );
            }
        }
    }

    #[test]
    fn each_test_that_the_page_names_exists() {
        let mut names = HashSet::new();
        SOURCES.iter().for_each(|directory| tests_below(&root().join(directory), &mut names));
        for row in rows() {
            for name in spans(row.tests) {
                assert!(names.contains(name), "{}: there is no test `{name}`", row.clause);
            }
        }
    }

    #[test]
    fn each_piece_of_code_that_the_page_names_exists() {
        for row in rows() {
            for span in spans(row.code) {
                let (file, name) = span.split_once("::").unwrap_or((span, ""));
                let other = ["stack/", "shim/", "conf/"].iter().any(|package| file.starts_with(package));
                let path = if other { root().join(file) } else { root().join("stack/tcp/src").join(file) };
                let Ok(text) = fs::read_to_string(&path) else {
                    panic!("{}: there is no file {file}", row.clause)
                };
                let found = name.is_empty() || text.split(|letter| !is_word(letter)).any(|word| word == name);
                assert!(found, "{}: there is no {name} in {file}", row.clause);
            }
        }
    }

    #[test]
    fn each_requirement_of_rfc_9293_has_its_row() {
        let rows = rows();
        let musts = (1..=69).map(|number| format!("MUST-{number}"));
        let shoulds = (1..=31).map(|number| format!("SHLD-{number}"));
        for id in musts.chain(shoulds) {
            assert_eq!(rows.iter().filter(|row| row.clause == id).count(), 1, "{id}");
        }
    }

    #[test]
    fn a_row_without_a_test_says_why() {
        for row in rows() {
            let excused = EXCUSES.iter().any(|excuse| row.requirement.contains(excuse));
            assert!(spans(row.tests).count() > 0 || excused, "{} has no test", row.clause);
        }
    }
}
