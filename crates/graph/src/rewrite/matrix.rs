//! Sparse matrices over channels: how a signal is read from the channels of a layer.

/// `rows[o]` lists the columns and coefficients that make channel `o`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Matrix {
    pub(crate) rows: Vec<Vec<(usize, f64)>>,
    pub(crate) columns: usize,
}

impl Matrix {
    pub(crate) fn identity(channels: usize) -> Self {
        Self::selecting(0, channels, channels)
    }

    /// `count` channels from `first` on, out of `columns`.
    pub(crate) fn selecting(first: usize, count: usize, columns: usize) -> Self {
        Self { rows: (first..first + count).map(|column| vec![(column, 1.0)]).collect(), columns }
    }

    /// The matrix `[rows.len() / columns, columns]` of a 1×1 filter.
    pub(crate) fn dense(values: &[f64], columns: usize) -> Self {
        let row = |row: &[f64]| row.iter().copied().enumerate().filter(|&(_, value)| value != 0.0).collect();
        Self { rows: values.chunks_exact(columns).map(row).collect(), columns }
    }

    pub(crate) fn height(&self) -> usize {
        self.rows.len()
    }

    /// `self · inner`.
    pub(crate) fn of(&self, inner: &Self) -> Self {
        let row = |row: &Vec<(usize, f64)>| {
            let mut sum = std::collections::BTreeMap::new();
            for &(middle, outer) in row {
                for &(column, value) in &inner.rows[middle] {
                    *sum.entry(column).or_insert(0.0) += outer * value;
                }
            }
            sum.into_iter().collect()
        };
        Self { rows: self.rows.iter().map(row).collect(), columns: inner.columns }
    }

    pub(crate) fn scaled(&self, factors: &[f64]) -> Self {
        let scale = |(row, factor): (&Vec<(usize, f64)>, &f64)| {
            row.iter().map(|&(column, value)| (column, factor * value)).collect()
        };
        Self { rows: self.rows.iter().zip(factors).map(scale).collect(), columns: self.columns }
    }

    pub(crate) fn negated(&self) -> Self {
        self.scaled(&vec![-1.0; self.height()])
    }

    /// `self + other`, of the same sides.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        let rows = self.rows.iter().zip(&other.rows).map(|(a, b)| [&a[..], &b[..]].concat()).collect();
        Self { rows, columns: self.columns }
    }

    /// Rows of zeros before and after.
    pub(crate) fn padded(mut self, before: usize, after: usize) -> Self {
        self.rows.splice(0..0, vec![Vec::new(); before]);
        self.rows.extend(vec![Vec::new(); after]);
        self
    }

    /// True where every row is one channel as it is.
    pub(crate) fn is_selection(&self) -> bool {
        self.rows.iter().all(|row| matches!(row[..], [(_, 1.0)]))
    }

    pub(crate) fn is_identity(&self) -> bool {
        self.height() == self.columns && *self == Self::identity(self.columns)
    }

    /// Where the identity stands among rows of zeros, if that is all there is: option A's placement.
    pub(crate) fn placement(&self) -> Option<usize> {
        let offset = self.rows.iter().position(|row| !row.is_empty())?;
        let after = self.height().checked_sub(offset + self.columns)?;
        (*self == Self::identity(self.columns).padded(offset, after)).then_some(offset)
    }

    pub(crate) fn is_nonnegative(&self) -> bool {
        self.rows.iter().flatten().all(|&(_, value)| value >= 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_placements() {
        let a = Matrix::dense(&[1.0, 2.0, 0.0, -1.0], 2);
        assert_eq!(a.of(&a).rows, [vec![(0, 1.0), (1, 0.0)], vec![(1, 1.0)]]);
        let placed = Matrix::identity(2).padded(1, 3);
        assert_eq!(
            (placed.placement(), placed.is_identity(), placed.is_selection()),
            (Some(1), false, false)
        );
        assert_eq!(a.placement(), None);
        assert!(Matrix::selecting(2, 3, 7).is_selection() && !a.is_nonnegative());
    }
}
