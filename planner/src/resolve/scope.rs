//! Which columns a name can mean.

use arrow::datatypes::{DataType, Schema};
use sqlparser::ast::Ident;

use super::star::Shown;

/// A column of a relation or query.
#[derive(Debug, Clone)]
pub(super) struct OutputColumn {
    pub(super) name: String,
    /// The type, where it is known before binding.
    pub(super) data_type: Option<DataType>,
}

/// The columns of a relation.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    pub(super) list: Vec<OutputColumn>,
    /// There may be others, which only binding knows.
    pub(super) open: bool,
}

/// What a name finds.
#[derive(Debug)]
pub(super) enum Match<'a> {
    /// Nothing.
    None,
    /// A column.
    One(&'a OutputColumn),
    /// Several columns, in relations or spellings named here.
    Several(Vec<String>),
}

impl<'a> Match<'a> {
    pub(super) fn one(self) -> Option<&'a OutputColumn> {
        match self {
            Self::One(column) => Some(column),
            Self::None | Self::Several(_) => None,
        }
    }
}

impl Columns {
    /// Columns of which nothing is known.
    pub(super) fn open() -> Self {
        Self { list: Vec::new(), open: true }
    }

    pub(super) fn of_schema(schema: &Schema) -> Self {
        let column = |field: &arrow::datatypes::FieldRef| OutputColumn {
            name: field.name().clone(),
            data_type: Some(field.data_type().clone()),
        };
        Self { list: schema.fields().iter().map(column).collect(), open: false }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|column| column.name.as_str())
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.list.extend(other.list.iter().cloned());
        self.open |= other.open;
    }

    /// Gives the first columns other names.
    pub(super) fn renamed<'i>(mut self, names: impl Iterator<Item = &'i Ident>) -> Self {
        for (index, name) in names.enumerate() {
            match self.list.get_mut(index) {
                Some(column) => column.name.clone_from(&name.value),
                None => self.list.push(OutputColumn { name: name.value.clone(), data_type: None }),
            }
        }
        self
    }

    /// Finds a column exactly as written, else whatever its case.
    pub(super) fn find(&self, name: &str) -> Match<'_> {
        if let Some(column) = self.exact(name) {
            return Match::One(column);
        }
        let mut found = self.list.iter().filter(|column| column.name.eq_ignore_ascii_case(name));
        let Some(first) = found.next() else { return Match::None };
        let others: Vec<String> = found
            .filter(|column| column.name != first.name)
            .map(|column| column.name.clone())
            .collect();
        if others.is_empty() {
            return Match::One(first);
        }
        Match::Several(std::iter::once(first.name.clone()).chain(others).collect())
    }

    pub(super) fn exact(&self, name: &str) -> Option<&OutputColumn> {
        self.list.iter().find(|column| column.name == name)
    }
}

/// A relation of a FROM clause.
#[derive(Debug, Clone, Default)]
pub(super) struct RelationScope {
    /// The name by which its columns can be qualified.
    pub(super) qualifier: Option<String>,
    pub(super) columns: Columns,
}

/// The columns that an expression can name.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope<'a> {
    pub(super) relations: Vec<RelationScope>,
    /// The columns that `*` gives.
    pub(super) shown: Vec<Shown>,
    /// Names given in the SELECT list, where they can be used.
    pub(super) aliases: Columns,
    /// Whether a join has merged columns of one name.
    pub(super) merged: bool,
    /// The scope of the query around this one.
    pub(super) outer: Option<&'a Scope<'a>>,
}

impl Scope<'_> {
    pub(super) fn of(relation: RelationScope) -> Self {
        Self { relations: vec![relation], ..Self::default() }
    }

    /// Finds a column by its bare name, in this scope only.
    pub(super) fn find(&self, name: &str) -> Match<'_> {
        if let Some(column) = self.aliases.exact(name) {
            return Match::One(column);
        }
        let exact = self
            .relations
            .iter()
            .filter_map(|relation| relation.columns.exact(name).map(|column| (relation, column)));
        match self.single(exact) {
            Match::None => {}
            found => return found,
        }
        let mut several = Vec::new();
        let mut folded = Vec::new();
        for relation in &self.relations {
            match relation.columns.find(name) {
                Match::None => {}
                Match::One(column) => folded.push((relation, column)),
                Match::Several(names) => several.extend(names),
            }
        }
        if !several.is_empty() {
            return Match::Several(several);
        }
        match self.single(folded.into_iter()) {
            Match::None => self.aliases.find(name),
            found => found,
        }
    }

    fn single<'s>(
        &self,
        mut found: impl Iterator<Item = (&'s RelationScope, &'s OutputColumn)>,
    ) -> Match<'s> {
        let Some(first) = found.next() else { return Match::None };
        let others: Vec<_> = found.collect();
        if others.is_empty() || self.merged {
            return Match::One(first.1);
        }
        let qualified = |(relation, column): (&RelationScope, &OutputColumn)| {
            let qualifier = relation.qualifier.as_deref().unwrap_or("?");
            format!("{qualifier}.{}", column.name)
        };
        Match::Several(std::iter::once(first).chain(others).map(qualified).collect())
    }

    /// Finds a relation by its qualifier, exactly as written, else whatever its case.
    pub(super) fn relation(&self, name: &str) -> Option<&RelationScope> {
        let named = |relation: &&RelationScope| relation.qualifier.as_deref() == Some(name);
        self.relations.iter().find(named).or_else(|| {
            self.relations.iter().find(|relation| {
                relation.qualifier.as_ref().is_some_and(|known| known.eq_ignore_ascii_case(name))
            })
        })
    }

    /// Tells whether binding may know columns that are not known here.
    pub(super) fn is_open(&self) -> bool {
        self.relations.iter().any(|relation| relation.columns.open)
    }

    /// Returns this scope and those around it, inner ones first.
    pub(super) fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |scope| scope.outer)
    }

    /// Returns all names of columns, for suggestions.
    pub(super) fn column_names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for scope in self.chain() {
            names.extend(scope.relations.iter().flat_map(|relation| relation.columns.names()));
            names.extend(scope.aliases.names());
        }
        names
    }
}
