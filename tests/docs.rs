//! What the pages say is there, is there: every test, script and command that they name.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::{fs, path::Path};

use support::chartdrop;

/// Every page, relative to the repository.
fn pages() -> Vec<String> {
    let mut pages: Vec<_> = ["README.md", "ARCHITECTURE.md", "packaging/README.md"].map(str::to_owned).into();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            pages.push(format!("docs/{name}"));
        }
    }
    assert!(pages.len() > 7, "{pages:?}");
    pages
}

fn read(page: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap()
}

/// What stands between backticks, and the lines of code blocks.
fn code(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (n, block) in text.split("```").enumerate() {
        if n % 2 == 1 {
            found.extend(block.lines().skip(1).map(|line| line.trim().to_owned()));
        } else {
            found.extend(block.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// Everything beneath `folder` that ends in `.rs`, in one text.
fn sources(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("node_modules") {
            all.push_str(&sources(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            all.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
    all
}

#[test]
fn every_test_and_script_that_a_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for page in pages() {
        for words in code(&read(&page)) {
            let words: Vec<_> = words.split_whitespace().collect();
            for pair in words.windows(2).filter(|pair| pair[0] == "--test") {
                let stands = [format!("tests/{}.rs", pair[1]), format!("tests/{}/main.rs", pair[1])];
                assert!(stands.iter().any(|path| root.join(path).exists()), "{page}: --test {}", pair[1]);
                seen += 1;
            }
            let scripts = words.iter().filter_map(|word| word.strip_prefix("./"));
            for script in scripts.filter(|script| !script.contains('*')) {
                assert!(root.join(script).exists(), "{page}: ./{script}");
                seen += 1;
            }
        }
    }
    assert!(seen > 10, "the pages name tests: {seen}");
}

#[test]
fn every_test_that_is_named_in_the_page_on_reliability_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = sources(&root.join("tests")) + &sources(&root.join("src"));
    let is_name = |word: &String| {
        word.matches('_').count() >= 3 && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let mut seen = 0;
    for name in code(&read("docs/reliability.md")).into_iter().filter(is_name) {
        assert!(sources.contains(&format!("fn {name}(")), "there is no test {name}");
        seen += 1;
    }
    assert!(seen > 10, "the page names tests: {seen}");
}

#[test]
fn every_chartdrop_command_that_a_page_names_exists() {
    let help = String::from_utf8(chartdrop().arg("--help").output().unwrap().stdout).unwrap();
    let known = |command: &str| help.lines().any(|line| line.split_whitespace().next() == Some(command));
    let mut seen = 0;
    for page in pages() {
        for words in code(&read(&page)) {
            let words: Vec<_> = words.split_whitespace().collect();
            for pair in words.windows(2).filter(|pair| pair[0] == "chartdrop" && !pair[1].starts_with(['-', '$', '/']))
            {
                if ["install", "-g", "systemctl"].contains(&pair[1]) {
                    continue;
                }
                if pair[1].chars().all(|c| c.is_ascii_lowercase()) && words[0] != "sudo" {
                    assert!(known(pair[1]), "{page}: chartdrop {}", pair[1]);
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 2, "the pages name commands: {seen}");
}

#[test]
fn the_page_on_the_sandbox_has_the_whole_grammar_of_faults() {
    let page = read("docs/sandbox.md");
    let grammar = page.split("```text\n").nth(1).unwrap().split("\n```").next().unwrap();
    let help = String::from_utf8(chartdrop().args(["sandbox", "--help"]).output().unwrap().stdout).unwrap();
    let flowed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flowed(&help).contains(&flowed(grammar)), "{help}");
    // And every rule in it is one.
    for rule in code(&page).iter().filter(|word| word.contains(":status=") || word.contains(":cut=")) {
        for rule in rule.split_whitespace().filter(|word| word.matches(':').count() == 2 && !word.contains('/')) {
            let rule = rule.trim_matches('\'');
            let output = chartdrop().args(["sandbox", "--listen", "192.0.2.1:1", "--fault", rule]).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!said.contains("fault"), "{rule}: {said}");
        }
    }
}

/// The cells of a page's tables, row by row.
fn rows(page: &str) -> Vec<Vec<String>> {
    let text = read(page);
    let rows = text.lines().filter(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn what_the_page_on_operations_quotes_from_the_log_is_what_the_program_says() {
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let mut seen = 0;
    for row in rows("docs/operations.md") {
        for words in row[0].split('*').skip(1).step_by(2) {
            assert!(sources.contains(words), "the program never says: {words}");
            seen += 1;
        }
    }
    assert!(seen > 10, "the page quotes the log: {seen}");
}

#[test]
fn every_direct_dependency_is_in_the_page_on_dependencies_and_no_other() {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    let direct: Vec<_> = manifest["dependencies"].as_table().unwrap().keys().map(|name| format!("`{name}`")).collect();
    let listed: Vec<_> = rows("docs/dependencies.md").into_iter().map(|row| row[0].clone()).skip(2).collect();
    let missing: Vec<_> = direct.iter().filter(|name| !listed.contains(name)).collect();
    let extra: Vec<_> = listed.iter().filter(|name| !direct.contains(name)).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing: {missing:?}; not used any more: {extra:?}");
}

#[test]
fn every_example_file_that_a_page_names_is_in_the_package() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for page in ["docs/install.md", "docs/operations.md", "docs/security.md"] {
        for words in code(&read(page)) {
            for name in words.split_whitespace().filter_map(|word| word.rsplit('/').next()) {
                if name.ends_with(".conf") && name != "chartdrop.conf" {
                    let places = [format!("packaging/examples/{name}"), format!("docs/samba/{name}")];
                    assert!(places.iter().any(|place| root.join(place).exists()), "{page}: {name}");
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 5, "the pages name examples: {seen}");
}
