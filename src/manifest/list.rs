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

/// The same, lent until the next row is asked for: a million rows are read without an allocation for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowRef<'a> {
    /// Counted from 1; the header is on line 1.
    pub line: u32,
    pub source: &'a str,
    /// Without the prefix.
    pub key: &'a str,
    pub rule: Option<Rule>,
    pub stage: Option<&'a str>,
    pub target: Option<&'a str>,
}

impl RowRef<'_> {
    #[must_use]
    pub fn to_row(&self) -> Row {
        let Self { line, source, key, rule, stage, target } = *self;
        let own = |text: Option<&str>| text.map(str::to_owned);
        Row { line, source: source.to_owned(), key: key.to_owned(), rule, stage: own(stage), target: own(target) }
    }
}

/// Reads a list file row by row. `file` is what places call it. After a bad header or a read error nothing more comes.
pub fn rows<R: Read>(file: &Arc<str>, from: R) -> Rows<R> {
    // Lines end at the newline alone, so that they can be counted; a carriage return before it is taken off by `column`.
    let terminator = csv::Terminator::Any(b'\n');
    let mut builder = csv::ReaderBuilder::new();
    let reader = builder.has_headers(false).flexible(true).terminator(terminator).from_reader(Ended {
        from,
        tail: *b"\n\n\n",
        bytes: 0,
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
        self.next_row().map(|row| row.map(|row| row.to_row()))
    }
}

fn missing_header() -> String {
    "the header is missing: source,key and if needed overwrite,stage,target".to_owned()
}

impl<R: Read> Rows<R> {
    /// The next row, as [`Iterator::next`] gives it, but lent.
    pub fn next_row(&mut self) -> Option<Result<RowRef<'_>, Vec<Flaw>>> {
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
            if self.is_cut_off() {
                self.done = true;
                let message = "a quote is opened and never closed; the list may have been cut off".to_owned();
                return Some(Err(vec![self.flaw(self.line(), message)]));
            }
            if self.columns.is_some() {
                return Some(self.row());
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

    /// Whether the file ends within quotes. Then its last newline is in the record and not after it; of a record that was
    /// closed after a newline, a quote stands between the two.
    fn is_cut_off(&self) -> bool {
        let ended = self.reader.get_ref();
        self.record.as_slice().last() == Some(&b'\n')
            && ended.over
            && self.reader.position().byte() == ended.bytes
            && ended.tail != *b"\n\"\n"
    }

    /// Where the record begins. The parser counts lines but not those that it skips for being empty, so this goes back from
    /// the record's end.
    fn line(&self) -> u32 {
        let after = u64::from(!self.is_cut_off());
        let inside: u64 = self.record.as_slice().iter().map(|byte| u64::from(*byte == b'\n')).sum();
        let line = self.reader.position().line().saturating_sub(after + inside).max(1);
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

    fn row(&self) -> Result<RowRef<'_>, Vec<Flaw>> {
        let line = self.line();
        let columns = self.columns.as_deref().unwrap_or_default();
        if self.record.len() != columns.len() {
            let (has, wants) = (self.record.len(), columns.len());
            return Err(vec![self.flaw(line, format!("has {has} columns where the header has {wants}"))]);
        }
        let mut values: [Option<&str>; 5] = [None; 5];
        // Together first, which is one check where most rows are sound.
        let whole = std::str::from_utf8(self.record.as_slice());
        let mut flaws = Vec::new();
        for (i, column) in columns.iter().enumerate() {
            let text = match (whole, self.record.range(i)) {
                // Cut within a character, each half is none.
                (Ok(whole), Some(range)) => whole.get(range),
                _ => std::str::from_utf8(&self.record[i]).ok(),
            };
            match text {
                Some(text) if i + 1 == columns.len() => values[*column] = Some(text.strip_suffix('\r').unwrap_or(text)),
                Some(text) => values[*column] = Some(text),
                None => flaws.push(self.flaw(line, format!("{} is not UTF-8", COLUMNS[*column]))),
            }
        }
        if !flaws.is_empty() {
            return Err(flaws);
        }
        let [source, key, overwrite, stage, target] = values.map(|value| value.filter(|text| !text.is_empty()));
        let (source, key) = (source.unwrap_or(""), key.unwrap_or(""));
        if let Some(why) = super::value::path(source) {
            flaws.push(self.flaw(line, format!("source: {why}")));
        }
        if key.is_empty() {
            flaws.push(self.flaw(line, "key: is empty".to_owned()));
        }
        let rule = overwrite.and_then(|text| {
            let rule = Rule::ALL.into_iter().find(|rule| rule.name() == text);
            if rule.is_none() {
                let words = Rule::ALL.map(Rule::name);
                let meant = suggestion(text, words.into_iter());
                let message = format!("overwrite: {} is not one of {}{meant}", shown(text), words.join(", "));
                flaws.push(self.flaw(line, message));
            }
            rule
        });
        if !flaws.is_empty() {
            return Err(flaws);
        }
        Ok(RowRef { line, source, key, rule, stage, target })
    }
}

/// A text whose last line ends like the others.
#[derive(Debug)]
struct Ended<R> {
    from: R,
    /// The last bytes that were read.
    tail: [u8; 3],
    bytes: u64,
    over: bool,
}

impl<R: Read> Read for Ended<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.over || into.is_empty() {
            return Ok(0);
        }
        let mut n = self.from.read(into)?;
        if n == 0 {
            self.over = true;
            if self.tail[2] == b'\n' {
                return Ok(0);
            }
            into[0] = b'\n';
            n = 1;
        }
        for byte in &into[n.saturating_sub(3)..n] {
            self.tail = [self.tail[1], self.tail[2], *byte];
        }
        self.bytes += n as u64;
        Ok(n)
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
        let cut =
            |line: u32| format!("l.csv:{line}: a quote is opened and never closed; the list may have been cut off");
        for (text, line) in [
            ("source,key\na,\"b", 2),
            ("source,key\na,\"b\n", 2),
            ("source,key\r\n\r\na,\"b\r\nc,d\r\n", 3),
            ("source,key\na,\"b\"\"", 2),
            ("source,key\na,\"b\"\"\n", 2),
            ("source,key\n\n\na,\"b\nc\n\n", 4),
            ("source,\"key", 1),
            ("source,key\na,\"", 2),
        ] {
            assert_eq!(read(text.as_bytes()), [cut(line)], "{text:?}");
        }
        // Closed after a newline, which is odd but whole.
        for text in ["source,key\na,\"b\n\"", "source,key\na,\"b\n\"\n", "source,key\na,\"b\n\"\n\n"] {
            assert_eq!(read(text.as_bytes()), ["2 a -> b\n None None None"], "{text:?}");
        }
    }

    #[test]
    fn a_character_that_is_torn_between_columns_is_not_utf8() {
        assert_eq!(read(b"source,key\n\xc3,\xbc\n"), ["l.csv:2: source is not UTF-8", "l.csv:2: key is not UTF-8"]);
        assert_eq!(read("source,key\nü,\u{1f980}\n".as_bytes()), ["2 ü -> \u{1f980} None None None"]);
    }

    #[test]
    fn a_list_is_read_the_same_however_it_arrives() {
        struct Drip<'a>(&'a [u8]);
        impl Read for Drip<'_> {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                self.0.read(&mut into[..1])
            }
        }
        for text in
            ["source,key\na,b\n\"c\nd\",e", "source,key\na,\"b", "source,key\na,\"b\n\"\n", "source,key\r\na,b\r\n\r\n"]
        {
            let whole: Vec<_> = rows(&"l.csv".into(), text.as_bytes()).collect();
            let dripped: Vec<_> = rows(&"l.csv".into(), Drip(text.as_bytes())).collect();
            assert_eq!(whole, dripped, "{text:?}");
        }
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
