//! What a check of stored data found: the same form for every format, so that one report can hold them all.
//!
//! Each crate checks the format it owns and adds findings; nobody matches on their text, programs go by `code`.

use std::collections::BTreeMap;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// As it may be, and good to know.
    Note,
    /// Not as it should be; the node settles it by itself when it runs.
    Warning,
    /// Something that was kept is not there any more, or cannot be trusted. The advice says what to do.
    Damage,
}

impl Severity {
    /// One word for people and programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Damage => "damage",
        }
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What kind it is, a lasting name for programs such as `log-entry-damaged`.
    pub code: &'static str,
    /// Where: a file, a group, a chunk.
    pub place: String,
    /// What is wrong there.
    pub what: String,
    /// What to do about it.
    pub advice: &'static str,
}

/// Findings of each kind that are kept in full; the rest are counted. A disk that lost a million chunks must not fill the memory.
pub const FINDINGS_LISTED_MAX: u64 = 50;

/// Everything a check found, in bounded memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    listed: Vec<Finding>,
    counts: BTreeMap<&'static str, (Severity, u64)>,
}

impl Findings {
    /// Notes a finding. Of each kind the first [`FINDINGS_LISTED_MAX`] are kept, and all are counted.
    pub fn add(&mut self, finding: Finding) {
        let count = self.counts.entry(finding.code).or_insert((finding.severity, 0));
        count.0 = count.0.max(finding.severity);
        count.1 += 1;
        if count.1 <= FINDINGS_LISTED_MAX {
            self.listed.push(finding);
        }
    }

    /// Adds a note.
    pub fn note(&mut self, code: &'static str, place: impl ToString, what: impl ToString, advice: &'static str) {
        let (place, what) = (place.to_string(), what.to_string());
        self.add(Finding { severity: Severity::Note, code, place, what, advice });
    }

    /// Adds a warning.
    pub fn warning(&mut self, code: &'static str, place: impl ToString, what: impl ToString, advice: &'static str) {
        let (place, what) = (place.to_string(), what.to_string());
        self.add(Finding { severity: Severity::Warning, code, place, what, advice });
    }

    /// Adds a damage.
    pub fn damage(&mut self, code: &'static str, place: impl ToString, what: impl ToString, advice: &'static str) {
        let (place, what) = (place.to_string(), what.to_string());
        self.add(Finding { severity: Severity::Damage, code, place, what, advice });
    }

    /// Those that are kept, in the order they were found.
    #[must_use]
    pub fn listed(&self) -> &[Finding] {
        &self.listed
    }

    /// How many there are of a kind.
    #[must_use]
    pub fn count(&self, code: &str) -> u64 {
        self.counts.get(code).map_or(0, |(_, count)| *count)
    }

    /// Kind, severity and number of all that were found, by kind.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, Severity, u64)> + '_ {
        self.counts.iter().map(|(code, (severity, count))| (*code, *severity, *count))
    }

    /// How many there are of a severity.
    #[must_use]
    pub fn number_of(&self, wanted: Severity) -> u64 {
        self.counts().filter(|(_, severity, _)| *severity == wanted).map(|(_, _, count)| count).sum()
    }

    /// The worst severity; `None` if nothing was found.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.counts().map(|(_, severity, _)| severity).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: Severity, code: &'static str) -> Finding {
        Finding { severity, code, place: "here".into(), what: "broken".into(), advice: "mend it" }
    }

    #[test]
    fn all_are_counted_and_only_the_first_of_a_kind_are_kept() {
        let mut findings = Findings::default();
        assert_eq!(findings.worst(), None);
        findings.add(finding(Severity::Note, "a"));
        assert_eq!(findings.worst(), Some(Severity::Note));
        for _ in 0..FINDINGS_LISTED_MAX + 10 {
            findings.add(finding(Severity::Damage, "b"));
        }
        findings.add(finding(Severity::Warning, "c"));
        assert_eq!(findings.listed().len() as u64, 1 + FINDINGS_LISTED_MAX + 1);
        assert_eq!(
            (findings.count("a"), findings.count("b"), findings.count("none")),
            (1, FINDINGS_LISTED_MAX + 10, 0)
        );
        assert_eq!(findings.worst(), Some(Severity::Damage));
        assert_eq!(findings.number_of(Severity::Damage), FINDINGS_LISTED_MAX + 10);
    }
}
