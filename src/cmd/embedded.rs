//! The scenarios and the lessons of the repository, embedded in the binary by `build.rs`: they are there from anywhere, by name.

use serde::Deserialize;

/// A scenario or a lesson in the binary.
#[derive(Debug, PartialEq, Eq)]
pub struct Embedded {
    /// The file's name without `.toml`.
    pub name: &'static str,
    /// The file's text.
    pub source: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/scenarios.rs"));
include!(concat!(env!("OUT_DIR"), "/lessons.rs"));

/// All embedded scenarios, in order of their names.
pub fn all() -> &'static [Embedded] {
    SCENARIOS
}

/// All embedded lessons, in order of their numbers.
pub fn lessons() -> &'static [Embedded] {
    LESSONS
}

/// The embedded scenario of this name.
pub fn find(name: &str) -> Option<&'static Embedded> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

/// The text of a data file by the name that scenarios use: `logs/shop.workload.csv`.
pub fn data(name: &str) -> Option<&'static str> {
    DATA.iter().find(|(file, _)| *file == name).map(|(_, text)| *text)
}

impl Embedded {
    /// The scenario's `title`.
    pub fn title(&self) -> String {
        #[derive(Deserialize)]
        struct Header {
            title: String,
        }
        toml::from_str::<Header>(self.source).map(|header| header.title).unwrap_or_default()
    }

    /// The data files that the scenario refers to: name and text.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        DATA.iter().filter(|(name, _)| self.source.contains(&format!("\"{name}\""))).copied()
    }

    /// Its name in messages.
    pub fn shown(&self) -> String {
        format!("{} (embedded)", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_scenario_of_the_repository_is_embedded_as_it_is() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut names: Vec<String> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(all().iter().map(|scenario| scenario.name).collect::<Vec<_>>(), names);
        for scenario in all() {
            let file = std::fs::read_to_string(folder.join(format!("{}.toml", scenario.name))).unwrap();
            assert!(file == scenario.source, "{}", scenario.name);
            assert!(!scenario.title().is_empty(), "{}", scenario.name);
        }
    }

    #[test]
    fn data_files_come_with_the_scenario_that_refers_to_them() {
        let files: Vec<&str> = find("replayed-log").unwrap().files().map(|(name, _)| name).collect();
        assert_eq!(files, ["logs/shop.workload.csv"]);
        assert_eq!(find("crash").unwrap().files().count(), 0);
    }
}
