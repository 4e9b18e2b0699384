//! The environment as the concerns read it: our variables, what is wrong with them, what to warn of.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::ops::RangeInclusive;

use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::setting::{Quantity, Setting};
use super::{SecretFile, known};

/// One mistake in the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The name of the variable.
    pub variable: String,
    /// What the variable must be; continues its name, and never holds a value.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.variable, self.message)
    }
}

/// Our variables, with secrets from files filled in, and the mistakes found so far.
pub(super) struct Environment {
    values: BTreeMap<&'static str, Zeroizing<String>>,
    /// Variable → the variable that named the file its value came from.
    files: BTreeMap<&'static str, &'static str>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl Environment {
    /// Keeps what is ours, and warns of what looks like ours but is not. An empty variable is unset.
    pub(super) fn new(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut this = Self {
            values: BTreeMap::new(),
            files: BTreeMap::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        for (name, value) in vars {
            // A name that is not UTF-8 cannot be one of ours.
            if let Some(name) = name.to_str().filter(|_| !value.is_empty()) {
                match known::lookup(name) {
                    Some(name) => this.keep(name, value),
                    None => this.warnings.extend(known::warning(name)),
                }
            }
        }
        this.read_secret_files();
        this
    }

    fn keep(&mut self, name: &'static str, value: OsString) {
        match value.into_string() {
            Ok(value) => drop(self.values.insert(name, Zeroizing::new(value))),
            Err(_) => self.problem(name, "must be valid UTF-8"),
        }
    }

    fn read_secret_files(&mut self) {
        for &(name, file_name) in known::SECRETS {
            let Some(path) = self.values.get(file_name) else { continue };
            if self.values.contains_key(name) {
                self.problem(file_name, format!("must not be set together with {name}"));
                continue;
            }
            match SecretFile::read(path.as_ref()) {
                Ok(secret) => {
                    if secret.readable_by_others {
                        self.warnings.push(format!(
                            "{file_name} names a file that every user of this machine can read; give it mode 0400"
                        ));
                    }
                    self.values.insert(name, secret.text);
                    self.files.insert(name, file_name);
                }
                Err(message) => self.problem(file_name, message),
            }
        }
    }

    /// One concern's variables as its flat struct of [`Setting`]s, whose fields are the names in lower case.
    pub(super) fn read<T: DeserializeOwned>(&self, names: &[&str]) -> T {
        let values = self.values.iter().filter(|(name, _)| names.contains(name));
        envy::from_iter(values.map(|(name, value)| (name.to_string(), value.to_string())))
            .expect("every field is an optional Setting, which takes any text, and names occur once")
    }

    /// The value of a variable, if it is set and good.
    pub(super) fn optional<T>(&mut self, name: &'static str, setting: Setting<T>) -> Option<T> {
        match setting {
            Setting::Unset => None,
            Setting::Good(value) => Some(value),
            Setting::Bad(expected) => {
                self.problem(name, expected);
                None
            }
        }
    }

    /// The value of a variable that has a default.
    pub(super) fn value<T>(&mut self, name: &'static str, setting: Setting<T>, default: T) -> T {
        self.optional(name, setting).unwrap_or(default)
    }

    /// The entries of a comma-separated variable; none if it is unset.
    pub(super) fn list<T>(&mut self, name: &'static str, setting: Setting<Vec<T>>) -> Vec<T> {
        match setting {
            Setting::Unset => Vec::new(),
            Setting::Good(entries) => entries,
            Setting::Bad(expected) => {
                self.problem(name, format!("is a comma-separated list of which every entry {expected}"));
                Vec::new()
            }
        }
    }

    /// The value of a variable that has a default, and a range outside of which it makes no sense.
    pub(super) fn within<T: Quantity>(
        &mut self,
        name: &'static str,
        setting: Setting<T>,
        default: T,
        range: RangeInclusive<T>,
    ) -> T {
        match setting {
            Setting::Unset => return default,
            Setting::Good(value) if range.contains(&value) => return value,
            Setting::Good(_) | Setting::Bad(_) => {}
        }
        let (from, to) = (range.start().show(), range.end().show());
        self.problem(name, format!("must be {} from {from} to {to}", T::KIND));
        default
    }

    /// The text of a variable, for what concerns more than one of them.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| value.as_str())
    }

    /// Whether a mistake in this variable, or in the one that names its file, is known already.
    pub(super) fn is_bad(&self, name: &str) -> bool {
        let file_name = known::SECRETS.iter().find(|(secret, _)| *secret == name).map(|(_, file)| *file);
        self.problems
            .iter()
            .any(|problem| problem.variable == name || Some(problem.variable.as_str()) == file_name)
    }

    /// Notes a mistake, under the name that the operator wrote.
    pub(super) fn problem(&mut self, name: &'static str, message: impl Into<String>) {
        let variable = self.files.get(name).unwrap_or(&name).to_string();
        self.problems.push(Problem { variable, message: message.into() });
    }

    /// Notes something that is allowed, but that the operator should know.
    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// The warnings, or every mistake.
    pub(super) fn finish(self) -> Result<Vec<String>, Vec<Problem>> {
        if self.problems.is_empty() { Ok(self.warnings) } else { Err(self.problems) }
    }
}
