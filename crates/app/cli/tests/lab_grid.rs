//! `sterna lab grid`: pairs of NATs in, a table, objects or a page out.

mod program;

use program::{Program, Scratch};

#[test]
fn an_object_a_cell_and_a_page() {
    let scratch = Scratch::new("grid");
    let page = scratch.text("grid.html");
    let run = Program::json(&["lab", "grid", "--presets", "none,symmetric", "--seeds", "2", "--html", &page]);
    let cells: Vec<serde_json::Value> =
        std::iter::from_fn(|| run.line()).map(|line| serde_json::from_str(&line).unwrap()).collect();
    let pairs: Vec<_> =
        cells.iter().map(|cell| (cell["a"].as_str().unwrap(), cell["b"].as_str().unwrap())).collect();
    assert_eq!(
        pairs,
        [("none", "none"), ("none", "symmetric"), ("symmetric", "none"), ("symmetric", "symmetric")]
    );
    for (cell, [direct, relayed]) in cells.iter().zip([[2, 0], [2, 0], [2, 0], [0, 2]]) {
        let counts =
            ["seeds", "connected", "direct", "relayed", "failed"].map(|key| cell[key].as_u64().unwrap());
        assert_eq!(counts, [2, 2, direct, relayed, 0], "{cell}");
        assert!(cell["median_ms"].as_f64().unwrap() > 50.0 && cell["agrees"] == true, "{cell}");
    }
    assert_eq!(run.end().0, 0);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(
        page.contains("symmetric calls none") && !page.contains("{{") && !page.contains("src="),
        "{} bytes",
        page.len()
    );
}

#[test]
fn what_cannot_be_played_is_told() {
    for (arguments, words) in [
        (["--presets", "cone"], "`cone` is no preset"),
        (["--loss", "77"], "between 0 and 50"),
        (["--seeds", "0"], "--seeds"),
    ] {
        let (failed, exit) = Program::json(&["lab", "grid", arguments[0], arguments[1]]).failure();
        assert_eq!((failed["code"].as_str(), exit), (Some("usage"), 2), "{failed}");
        assert!(failed["message"].as_str().unwrap().contains(words), "{failed}");
    }
    let (failed, exit) =
        Program::json(&["lab", "grid", "--seeds", "1", "--html", "/nowhere/at/all.html"]).failure();
    assert_eq!((failed["code"].as_str(), exit), (Some("file"), 7), "{failed}");
}

#[test]
fn punching_is_an_object_a_meeting() {
    let run = Program::json(&["lab", "punch", "--seeds", "1", "--busy", "1"]);
    let meetings: Vec<serde_json::Value> =
        std::iter::from_fn(|| run.line()).map(|line| serde_json::from_str(&line).unwrap()).collect();
    assert_eq!(run.end().0, 0);
    // Six rules against a port-restricted NAT, and each pair of them.
    assert_eq!(meetings.len(), 6 + 21);
    let preserving = &meetings[0];
    assert_eq!((&preserving["a"], &preserving["b"]), (&"preserving".into(), &"port-restricted".into()));
    let counts = ["seeds", "direct_without", "direct", "relayed", "failed"];
    assert_eq!(counts.map(|key| preserving[key].as_u64()), [1, 0, 1, 0, 0].map(Some), "{preserving}");
}
