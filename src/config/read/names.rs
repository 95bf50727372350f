//! Names that one section declares and others refer to.

use std::collections::HashMap;

use super::collections::Named;
use super::section::At;
use super::suggest;
use super::values::Text;
use super::{Cx, declared};

/// The declared names of one kind, in the order of the file.
pub(super) struct Names<'a> {
    what: &'static str,
    list: Vec<&'a str>,
    index: HashMap<&'a str, usize>,
}

impl<'a> Names<'a> {
    pub(super) fn new<T>(what: &'static str, named: Option<&'a Named<T>>) -> Self {
        Self::of(what, declared(named).collect())
    }

    pub(super) fn of(what: &'static str, list: Vec<&'a str>) -> Self {
        let index = list.iter().enumerate().map(|(index, name)| (*name, index)).collect();
        Self { what, list, index }
    }

    /// The place of a name. A dangling one is reported.
    pub(super) fn find(&self, name: &At<Text>, cx: &mut Cx<'_>) -> Option<usize> {
        let found = self.index.get(name.0.as_str()).copied();
        if found.is_none() {
            let what = self.what;
            let message = format!("there is no {what} `{}`", name.0);
            cx.error(name.pos, message, suggest::help(&name.0, &format!("{what}s"), &self.list));
        }
        found
    }

    /// The only name there is.
    pub(super) fn only(&self) -> Option<usize> {
        (self.list.len() == 1).then_some(0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}
