//! What the tour looks like: wrapped text and tables for a terminal of 100 columns, colours only on a terminal.
//!
//! Everything is formatted into strings first, so that tests can read what a person would.

use std::io::{self, IsTerminal, Write};

/// Columns of the whole page.
const WIDTH: usize = 100;
/// Columns of the labels `did`, `expected`, `came`.
const LABEL: usize = 10;
/// Between the columns of a table.
const GAP: &str = "  ";

/// Whether escape sequences are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    On,
    Off,
}

impl Colours {
    /// On for a terminal, unless `NO_COLOR` (<https://no-color.org>) or a dumb terminal says otherwise.
    pub fn for_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        if io::stdout().is_terminal() && !refused { Self::On } else { Self::Off }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
}

/// Rows under a heading; wide cells are cut to fit the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<const N: usize>(head: [&str; N]) -> Self {
        Self { head: head.iter().map(|cell| (*cell).to_owned()).collect(), rows: Vec::new() }
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }
}

/// Writes pages to standard output. A closed pipe is an error of the caller's, not a panic.
#[derive(Debug)]
pub struct Screen {
    colours: Colours,
}

impl Screen {
    pub fn new(colours: Colours) -> Self {
        Self { colours }
    }

    pub fn print(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    pub fn paint(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Plain => return text.to_owned(),
            Ink::Bold => "1",
            Ink::Dim => "2",
            Ink::Good => "32",
            Ink::Bad => "1;31",
        };
        match self.colours {
            Colours::On => format!("\x1b[{code}m{text}\x1b[0m"),
            Colours::Off => text.to_owned(),
        }
    }

    /// A heading that rules the page.
    pub fn heading(&self, number: usize, title: &str) -> String {
        let left = format!("── {number} · {title} ");
        let rule = "─".repeat(WIDTH.saturating_sub(left.chars().count()));
        format!("{}\n", self.paint(Ink::Bold, &format!("{left}{rule}")))
    }

    /// A label and its text, wrapped and hung under itself.
    pub fn line(&self, label: &str, ink: Ink, text: &str) -> String {
        let mut page = String::new();
        for (index, line) in wrap(text, WIDTH - LABEL).iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            page.push_str(&format!("{}{}\n", self.paint(Ink::Dim, &format!("{label:<LABEL$}")), self.paint(ink, line)));
        }
        page
    }

    /// A table under the texts of its step. Where it is too wide, the widest columns give way.
    pub fn table(&self, table: &Table) -> String {
        let mut widths: Vec<usize> = (0..table.head.len())
            .map(|column| {
                let cells = table.rows.iter().filter_map(|row| row.get(column));
                cells.chain([&table.head[column]]).map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        while widths.iter().map(|width| width + GAP.len()).sum::<usize>() > WIDTH - LABEL {
            let Some(widest) = widths.iter_mut().max() else { break };
            *widest -= 1;
        }
        let line = |cells: &[String]| {
            let cells = cells.iter().zip(&widths).map(|(cell, &width)| format!("{:<width$}", cut(cell, width)));
            cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
        };
        let margin = " ".repeat(LABEL);
        let mut page = format!("{margin}{}\n", self.paint(Ink::Dim, &line(&table.head)));
        for row in &table.rows {
            page.push_str(&format!("{margin}{}\n", line(row)));
        }
        page
    }
}

/// At most `width` characters; an ellipsis says that there were more.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Lines of at most `width` characters, broken at spaces; a longer word keeps a line of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

/// `27036` as people read it: `27,036`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn no_line_is_wider_than_the_page() {
        let screen = Screen::new(Colours::Off);
        let mut table = Table::new(["user", "what", "verdict"]);
        table.row(["harbor".to_owned(), "x".repeat(300), "still here".to_owned()]);
        let text = "a statement that goes on and on ".repeat(20);
        let page = [screen.heading(7, "A title"), screen.line("did", Ink::Plain, &text), screen.table(&table)].concat();
        for line in page.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        assert!(page.contains("…  still here\n"), "{page}");
    }

    #[test]
    fn a_step_reads_as_a_column() {
        let screen = Screen::new(Colours::Off);
        let mut table = Table::new(["user", "backends"]);
        table.row(["harbor".to_owned(), "4".to_owned()]);
        table.row(["lu".to_owned(), "3".to_owned()]);
        let words = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen";
        let page = [screen.line("did", Ink::Plain, words), screen.table(&table)].concat();
        expect![[r#"
            did       one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
                      sixteen
                      user    backends
                      harbor  4
                      lu      3
        "#]]
        .assert_eq(&page);
    }

    #[test]
    fn colours_are_written_only_when_on() {
        assert_eq!(Screen::new(Colours::Off).paint(Ink::Bad, "no"), "no");
        assert_eq!(Screen::new(Colours::On).paint(Ink::Bad, "no"), "\x1b[1;31mno\x1b[0m");
    }

    #[test]
    fn numbers_have_commas() {
        assert_eq!([0, 999, 1000, 27036, 1234567].map(thousands), ["0", "999", "1,000", "27,036", "1,234,567"]);
    }
}
