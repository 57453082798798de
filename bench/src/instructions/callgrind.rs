//! What callgrind writes: how many instructions each line of each file took.

use std::collections::HashMap;

/// Instructions by source file, what is inlined counted where it was written.
/// Code of objects without line numbers counts under the object's path. (The
/// format: valgrind's manual, "Callgrind Format Specification".)
pub fn by_file(profile: &str) -> HashMap<String, u64> {
    let mut names = Names::default();
    let (mut object, mut file, mut is_call) = (String::new(), String::new(), false);
    let mut sums = HashMap::new();
    for line in profile.lines() {
        if let Some((key, value)) = line.split_once('=') {
            match key {
                "ob" => object = names.objects.resolve(value),
                "cob" => drop(names.objects.resolve(value)),
                "fl" | "fi" | "fe" => file = names.files.resolve(value),
                "cfi" | "cfl" => drop(names.files.resolve(value)),
                // The next line is what the callee took, which is its own.
                "calls" => is_call = true,
                _ => {}
            }
        } else if line.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '*')) {
            let cost = line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
            let place = if file == "???" { &object } else { &file };
            if !std::mem::take(&mut is_call)
                && let Some(cost) = cost
            {
                *sums.entry(place.clone()).or_insert(0) += cost;
            }
        }
    }
    sums
}

/// Names are written once, as "(7) name", and after that as "(7)".
#[derive(Default)]
struct Names {
    objects: Table,
    files: Table,
}

#[derive(Default)]
struct Table(HashMap<String, String>);

impl Table {
    fn resolve(&mut self, value: &str) -> String {
        let Some((number, name)) = value.split_once(')') else { return value.to_owned() };
        let name = name.trim();
        if name.is_empty() {
            return self.0.get(number).cloned().unwrap_or_default();
        }
        self.0.insert(number.to_owned(), name.to_owned());
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_count_where_the_line_was_written_and_calls_not_twice() {
        let profile = "version: 1\npositions: line\nevents: Ir\n\nob=(1) /lib/a.so\nfl=(1) a.rs\nfn=(1) f\n\
                       10 100\nfi=(2) inlined.rs\n+3 7\nfe=(1)\n+1 3\ncfi=(3) b.rs\ncfn=(2) g\ncalls=2 20\n* 900\n\
                       \nob=(2) /lib/libc.so\nfl=(4) ???\nfn=(3) memcpy\n0 5\n\nob=(1)\nfl=(3)\nfn=(2)\n20 450\n";
        let sums = by_file(profile);
        assert_eq!(sums["a.rs"], 103);
        assert_eq!(sums["inlined.rs"], 7);
        assert_eq!(sums["b.rs"], 450);
        assert_eq!(sums["/lib/libc.so"], 5);
        assert_eq!(sums.values().sum::<u64>(), 565);
    }
}
