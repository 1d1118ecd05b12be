//! Where code lies in memory: which file, from where, so that an address of a dead process can be
//! named later. It reads `/proc/self/maps` when handlers are installed, never in one.

use std::path::PathBuf;

/// The file beside the rings that says where code lay.
pub const MAPS_FILE: &str = "maps";

/// No process that we know has more stretches of code; more are left out.
const MOST: usize = 1_024;

/// A stretch of code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CodeMap {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Where in the file it begins.
    pub(crate) offset: u64,
    pub(crate) inode: u64,
    pub(crate) path: PathBuf,
}

/// This process's, as of now.
pub(crate) fn own() -> Vec<CodeMap> {
    std::fs::read_to_string("/proc/self/maps").map(|text| parse(&text)).unwrap_or_default()
}

/// The executable stretches of a text as in proc(5); lines of any other form are passed over.
pub(crate) fn parse(text: &str) -> Vec<CodeMap> {
    text.lines().filter_map(line).take(MOST).collect()
}

fn line(line: &str) -> Option<CodeMap> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let permissions = fields.next()?;
    let offset = hex(fields.next()?)?;
    let inode = fields.nth(1)?.parse().ok()?;
    let path = fields.next().unwrap_or_default().trim_start();
    if !permissions.contains('x') {
        return None;
    }
    Some(CodeMap { start: hex(start)?, end: hex(end)?, offset, inode, path: path.into() })
}

/// As text that [`parse`] reads.
pub(crate) fn to_text(maps: &[CodeMap]) -> String {
    maps.iter()
        .map(|map| {
            let CodeMap { start, end, offset, inode, path } = map;
            format!("{start:x}-{end:x} r-xp {offset:08x} 00:00 {inode} {}\n", path.display())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_found_and_comes_back_from_its_text() {
        let maps = own();
        let here = code_is_found_and_comes_back_from_its_text as *const () as u64;
        let map = maps.iter().find(|map| (map.start..map.end).contains(&here)).unwrap();
        assert_eq!(map.path, std::env::current_exe().unwrap());
        assert_eq!(parse(&to_text(&maps)), maps);
    }

    #[test]
    fn lines_of_another_form_are_passed_over() {
        let text = "\nx\n1-2\n1-2 r-xp zz 0:0 1 /a\n10-20 r--p 0 0:0 1 /a\n10-20 r-xp 4 0:0 1    /a b\n";
        let map = CodeMap { start: 16, end: 32, offset: 4, inode: 1, path: "/a b".into() };
        assert_eq!(parse(text), [map]);
    }
}
