//! List files: CSV with a header, streamed, for batches too large for YAML. Keys are literal.

use std::io::{self, Read};
use std::sync::Arc;

use csv::ByteRecord;

use super::shape::{shown, suggestion};
use crate::model::entry::{Flaw, Place, Rule};

const COLUMNS: [&str; 5] = ["source", "key", "overwrite", "stage", "target"];

/// One row, checked as far as it can be alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Counted from 1; the header is on line 1.
    pub line: u32,
    pub source: String,
    /// Without the prefix.
    pub key: String,
    pub rule: Option<Rule>,
    pub stage: Option<String>,
    pub target: Option<String>,
}

/// Reads a list file row by row. `file` is what places call it. After a bad header or a read error nothing more comes.
pub fn rows<R: Read>(file: &Arc<str>, from: R) -> Rows<R> {
    // Lines end at the newline alone, so that they can be counted; a carriage return before it is taken off by `column`.
    let terminator = csv::Terminator::Any(b'\n');
    let mut builder = csv::ReaderBuilder::new();
    let reader = builder.has_headers(false).flexible(true).terminator(terminator).from_reader(Ended {
        from,
        last: b'\n',
        over: false,
    });
    Rows { file: Arc::clone(file), reader, columns: None, done: false, record: ByteRecord::new() }
}

/// The rows of a list file, each with everything that is wrong with it.
#[derive(Debug)]
pub struct Rows<R> {
    file: Arc<str>,
    reader: csv::Reader<Ended<R>>,
    /// What each column is, by its place in [`COLUMNS`]; `None` before the header was read.
    columns: Option<Vec<usize>>,
    done: bool,
    record: ByteRecord,
}

impl<R: Read> Iterator for Rows<R> {
    type Item = Result<Row, Vec<Flaw>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.done {
                return None;
            }
            match self.reader.read_byte_record(&mut self.record) {
                Err(error) => {
                    self.done = true;
                    let line = u32::try_from(self.reader.position().line()).unwrap_or(u32::MAX);
                    return Some(Err(vec![self.flaw(line, format!("cannot read on: {error}"))]));
                }
                Ok(false) => {
                    self.done = true;
                    return self.columns.is_none().then(|| Err(vec![self.flaw(1, missing_header())]));
                }
                Ok(true) if self.record.len() == 1 && self.record[0] == *b"\r" => continue,
                Ok(true) => {}
            }
            if let Some(columns) = &self.columns {
                return Some(self.row(columns));
            }
            match self.header() {
                Ok(columns) => self.columns = Some(columns),
                Err(flaws) => {
                    self.done = true;
                    return Some(Err(flaws));
                }
            }
        }
    }
}

fn missing_header() -> String {
    "the header is missing: source,key and if needed overwrite,stage,target".to_owned()
}

impl<R: Read> Rows<R> {
    /// Where the record begins. The parser counts lines but not those that it skips for being empty, so this goes back from
    /// the record's end.
    fn line(&self) -> u32 {
        let inside = self.record.as_slice().split(|byte| *byte == b'\n').count() as u64 - 1;
        let line = self.reader.position().line().saturating_sub(1 + inside).max(1);
        u32::try_from(line).unwrap_or(u32::MAX)
    }

    fn column(&self, i: usize) -> &[u8] {
        let bytes = &self.record[i];
        if i + 1 == self.record.len() { bytes.strip_suffix(b"\r").unwrap_or(bytes) } else { bytes }
    }

    fn flaw(&self, line: u32, message: String) -> Flaw {
        Flaw { place: Place { file: Arc::clone(&self.file), line }, message }
    }

    fn header(&self) -> Result<Vec<usize>, Vec<Flaw>> {
        let line = self.line();
        let mut columns = Vec::new();
        let mut flaws = Vec::new();
        for i in 0..self.record.len() {
            let name = self.column(i);
            let name = if i == 0 { name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name) } else { name };
            let name = String::from_utf8_lossy(name.trim_ascii()).into_owned();
            match COLUMNS.iter().position(|column| *column == name) {
                Some(column) if columns.contains(&column) => {
                    flaws.push(self.flaw(line, format!("column {name} is given twice")));
                }
                Some(column) => columns.push(column),
                None => {
                    let meant = suggestion(&name, COLUMNS.into_iter());
                    let known = COLUMNS.join(", ");
                    flaws.push(self.flaw(line, format!("unknown column {}; known are {known}{meant}", shown(&name))));
                }
            }
        }
        if flaws.is_empty() {
            for (column, name) in COLUMNS.iter().enumerate().take(2) {
                if !columns.contains(&column) {
                    flaws.push(self.flaw(line, format!("column {name} is missing from the header")));
                }
            }
        }
        if flaws.is_empty() { Ok(columns) } else { Err(flaws) }
    }

    fn row(&self, columns: &[usize]) -> Result<Row, Vec<Flaw>> {
        let line = self.line();
        if self.record.len() != columns.len() {
            let (has, wants) = (self.record.len(), columns.len());
            return Err(vec![self.flaw(line, format!("has {has} columns where the header has {wants}"))]);
        }
        let mut flaws = Vec::new();
        let mut values: [Option<&str>; 5] = [None; 5];
        for (i, column) in columns.iter().enumerate() {
            match std::str::from_utf8(self.column(i)) {
                Ok(text) => values[*column] = Some(text),
                Err(_) => flaws.push(self.flaw(line, format!("{} is not UTF-8", COLUMNS[*column]))),
            }
        }
        if !flaws.is_empty() {
            return Err(flaws);
        }
        let [source, key, overwrite, stage, target] = values;
        let (source, key) = (source.unwrap_or(""), key.unwrap_or(""));
        if let Some(why) = super::value::path(source) {
            flaws.push(self.flaw(line, format!("source: {why}")));
        }
        if key.is_empty() {
            flaws.push(self.flaw(line, "key: is empty".to_owned()));
        }
        let said = |value: Option<&str>| value.filter(|text| !text.is_empty()).map(str::to_owned);
        let rule = said(overwrite).and_then(|text| {
            let rule = Rule::ALL.into_iter().find(|rule| rule.name() == text);
            if rule.is_none() {
                let words = Rule::ALL.map(Rule::name);
                let meant = suggestion(&text, words.into_iter());
                let message = format!("overwrite: {} is not one of {}{meant}", shown(&text), words.join(", "));
                flaws.push(self.flaw(line, message));
            }
            rule
        });
        if !flaws.is_empty() {
            return Err(flaws);
        }
        Ok(Row { line, source: source.to_owned(), key: key.to_owned(), rule, stage: said(stage), target: said(target) })
    }
}

/// A text whose last line ends like the others.
#[derive(Debug)]
struct Ended<R> {
    from: R,
    last: u8,
    over: bool,
}

impl<R: Read> Read for Ended<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.over || into.is_empty() {
            return Ok(0);
        }
        let n = self.from.read(into)?;
        if let Some(last) = into[..n].last() {
            self.last = *last;
            return Ok(n);
        }
        self.over = true;
        if self.last == b'\n' {
            return Ok(0);
        }
        into[0] = b'\n';
        Ok(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows and flaws as a person would see them.
    fn read(bytes: &[u8]) -> Vec<String> {
        rows(&"l.csv".into(), bytes)
            .flat_map(|row| match row {
                Ok(row) => vec![format!(
                    "{} {} -> {} {:?} {:?} {:?}",
                    row.line,
                    row.source,
                    row.key,
                    row.rule.map(Rule::name),
                    row.stage,
                    row.target
                )],
                Err(flaws) => flaws.iter().map(ToString::to_string).collect(),
            })
            .collect()
    }

    #[test]
    fn columns_may_come_in_any_order_and_the_rest_may_be_left_out() {
        assert_eq!(read(b"source,key\na,b\n"), ["2 a -> b None None None"]);
        assert_eq!(
            read(b"\xef\xbb\xbfkey, overwrite ,source,target,stage\r\nk,if-changed,s,,index\r\n\"k,2\",,\"s\"\"2\",t,\r\n"),
            ["2 s -> k Some(\"if-changed\") Some(\"index\") None", "3 s\"2 -> k,2 None None Some(\"t\")"]
        );
        assert_eq!(read(b"source,key\n"), Vec::<String>::new());
    }

    #[test]
    fn a_key_is_literal() {
        assert_eq!(read(b"source,key\n*,{{ date }}\n"), ["2 * -> {{ date }} None None None"]);
    }

    #[test]
    fn a_flaw_names_the_lists_own_line_and_the_rows_after_it_are_still_read() {
        assert_eq!(
            read(b"source,key,overwrite\na,b\n\n\"x\ny\",k,\n,,allways\n\xff,k,\ng,h,keep\nu,v,,w\n"),
            [
                "l.csv:2: has 2 columns where the header has 3",
                "4 x\ny -> k None None None",
                "l.csv:6: source: is empty",
                "l.csv:6: key: is empty",
                "l.csv:6: overwrite: allways is not one of never, keep, if-changed, always; did you mean always?",
                "l.csv:7: source is not UTF-8",
                "8 g -> h Some(\"keep\") None None",
                "l.csv:9: has 4 columns where the header has 3",
            ]
        );
    }

    #[test]
    fn lines_are_counted_the_same_with_and_without_a_last_newline_and_with_crlf() {
        for text in ["source,key\n\na,b\nc,d", "source,key\n\na,b\nc,d\n", "source,key\r\n\r\na,b\r\nc,d\r\n\r\n"] {
            assert_eq!(read(text.as_bytes()), ["3 a -> b None None None", "4 c -> d None None None"], "{text:?}");
        }
    }

    #[test]
    fn a_list_that_was_cut_off_inside_quotes_does_not_pass_for_whole() {
        let row = rows(&"l.csv".into(), &b"source,key\na,\"b"[..]).next().unwrap().unwrap();
        assert_eq!(row.key, "b\n");
        assert!(crate::manifest::key::flaw(&row.key, false).is_some());
    }

    #[test]
    fn a_bad_header_ends_the_list() {
        assert_eq!(read(b""), ["l.csv:1: the header is missing: source,key and if needed overwrite,stage,target"]);
        assert_eq!(
            read(b"sauce,key,key\na,b,c\n"),
            [
                "l.csv:1: unknown column sauce; known are source, key, overwrite, stage, target; did you mean source?",
                "l.csv:1: column key is given twice"
            ]
        );
        assert_eq!(read(b"key\na\n"), ["l.csv:1: column source is missing from the header"]);
    }
}
