//! Patterns and expressions that are compiled once while they are in use.

use std::rc::Rc;

use datafusion::error::Result;

/// What was made of texts lately: those that are literals of the queries that run, mostly. The one
/// that was used longest ago is the first.
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
        if let Some(index) = self.0.iter().position(|(known, _)| known == text) {
            let found = Rc::clone(&self.0[index].1);
            self.0[index..].rotate_left(1);
            return Ok(found);
        }
        let new = Rc::new(make(text)?);
        if self.0.len() == MAX_KEPT {
            self.0.remove(0);
        }
        self.0.push((text.to_owned(), Rc::clone(&new)));
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_is_kept() {
        let mut lately = Lately::new();
        for turn in 0..10 * MAX_KEPT {
            let used = lately.get("used", |_| Ok(turn)).expect("is made");
            assert_eq!(*used, 0, "was made once");
            lately.get(&turn.to_string(), |_| Ok(turn)).expect("is made");
        }
        assert_eq!(lately.0.len(), MAX_KEPT);
    }
}
