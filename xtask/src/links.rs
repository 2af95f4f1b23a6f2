//! Pages of the documentation that cannot be right: links that lead nowhere, and traces of an unfinished merge.

use std::fs;
use std::path::{Path, PathBuf};

use crate::install::root;

/// Where people read.
const PLACES: &[&str] =
    &["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "docs", "scenarios"];

/// Every file that a Markdown page of ours links to, or shows as a picture, is there, and no merge was left half done.
pub(crate) fn check() -> Result<(), String> {
    let mut pages = Vec::new();
    for place in PLACES {
        collect(&root().join(place), &mut pages)?;
    }
    let mut wrong = Vec::new();
    for page in &pages {
        let text =
            fs::read_to_string(page).map_err(|error| format!("cannot read {}: {error}", page.display()))?;
        let folder = page.parent().expect("a file lies in a folder");
        for (line, target) in targets(&text) {
            if !folder.join(target).exists() {
                wrong.push(format!("{}:{line}: there is no {target}", page.display()));
            }
        }
        for line in conflicts(&text) {
            wrong.push(format!("{}:{line}: a merge was left half done here", page.display()));
        }
    }
    println!("xtask: {} pages, {} faults", pages.len(), wrong.len());
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

fn collect(place: &Path, pages: &mut Vec<PathBuf>) -> Result<(), String> {
    if !place.is_dir() {
        if place.extension().is_some_and(|it| it == "md") {
            pages.push(place.to_owned());
        }
        return Ok(());
    }
    let entries = fs::read_dir(place).map_err(|error| format!("cannot read {}: {error}", place.display()))?;
    for entry in entries.map_while(Result::ok) {
        collect(&entry.path(), pages)?;
    }
    Ok(())
}

/// The files that a page links to, each with its line. Web addresses and places within the page are not looked at.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut code = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            code = !code;
        }
        if code {
            continue;
        }
        for (start, _) in line.match_indices("](") {
            // In a code span it is an example.
            let quoted = line[..start].matches('`').count() % 2 == 1;
            let Some(target) = line[start + 2..].split([')', ' ', '#']).next() else { continue };
            if !quoted && !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                found.push((at + 1, target));
            }
        }
    }
    found
}

/// The lines where git has marked a conflict and nobody has resolved it.
fn conflicts(text: &str) -> Vec<usize> {
    let marks = ["<<<<<<< ", ">>>>>>> "];
    let marked = |line: &str| marks.iter().any(|mark| line.starts_with(mark));
    text.lines().enumerate().filter(|(_, line)| marked(line)).map(|(at, _)| at + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_from_other_links() {
        let text = "[a](a.md), ![b](b.png \"b\") and [c](c/d.md#part)\n[x](https://x.example) [y](#y) `[z](z.md)`\n\
                    ```\n[code](code.md)\n```\n[last](../last.md)";
        let expected = [(1, "a.md"), (1, "b.png"), (1, "c/d.md"), (6, "../last.md")];
        assert_eq!(targets(text), expected);
    }

    #[test]
    fn an_unfinished_merge_is_found() {
        let mine = "<".repeat(7);
        let theirs = ">".repeat(7);
        let text = format!("a\n{mine} HEAD\nb\n=======\nc\n{theirs} other\n> {mine} quoted\n");
        assert_eq!(conflicts(&text), [2, 6]);
    }
}
