//! Patterns and expressions that are compiled once while they are in use.

use std::rc::Rc;

use datafusion::error::Result;

/// What was made of texts lately: those that are literals of the queries that run, mostly.
#[derive(Debug)]
pub(super) struct Lately<T>(Vec<(String, Rc<T>)>);

/// How many are kept, of each kind and by each thread.
const MAX_KEPT: usize = 32;

impl<T> Lately<T> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Returns what a text stands for.
    ///
    /// # Errors
    /// Those of `make`, which is called where the text is not known.
    pub(super) fn get(
        &mut self,
        text: &str,
        make: impl FnOnce(&str) -> Result<T>,
    ) -> Result<Rc<T>> {
        if let Some((_, found)) = self.0.iter().find(|(known, _)| known == text) {
            return Ok(Rc::clone(found));
        }
        let new = Rc::new(make(text)?);
        if self.0.len() == MAX_KEPT {
            self.0.remove(0);
        }
        self.0.push((text.to_owned(), Rc::clone(&new)));
        Ok(new)
    }
}
