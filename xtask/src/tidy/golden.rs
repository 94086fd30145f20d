//! Golden files say in their first line what they are and how they are made again.

use super::Finding;
use super::tree::File;

pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    files
        .iter()
        .filter(|file| file.path.contains("/golden/") && file.path.ends_with(".wat"))
        .filter(|file| !file.text.starts_with(";;"))
        .map(|file| Finding {
            path: file.path.clone(),
            line: 1,
            what:
                "a golden file opens with `;;`: what it shows, and the command that makes it again"
                    .into(),
        })
        .collect()
}
