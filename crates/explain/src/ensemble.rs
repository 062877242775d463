//! A residual network as an ensemble of paths: what it loses with some of its blocks, or with their order
//! (Veit, Wilber & Belongie 2016, "Residual networks behave like ensembles of relatively shallow networks").

use residuum_graph::{Block, Weights};
use residuum_tensor::Tensor;

use crate::blocks::{delete_blocks, identity_path_gradient, part_shapes, permute_modules};
use crate::error::Result;
use crate::random::shuffled;
use crate::score::Score;
use crate::subject::{Subject, batches, part};

impl Subject<'_> {
    /// The score without some blocks: their shortcuts alone remain, running statistics are left alone (§4.1).
    /// `tell` is that of [`Subject::score`].
    ///
    /// # Errors
    /// As [`Subject::score`].
    pub fn score_without(
        &self,
        deleted: &[&Block],
        images: &Tensor,
        labels: &[u32],
        tell: impl FnMut(usize) -> bool,
    ) -> Result<Option<Score>> {
        let graph = delete_blocks(self.graph, deleted);
        Subject { graph: &graph, ..*self }.score(images, labels, tell)
    }
}

/// `count` of `all` blocks, each choice equally likely, in order; another choice for each draw.
///
/// # Panics
/// When there are not so many.
pub fn random_blocks(all: usize, count: usize, seed: u64, draw: u64) -> Vec<usize> {
    let mut chosen = shuffled(seed, draw, all)[..count].to_vec();
    chosen.sort_unstable();
    chosen
}

/// The places of blocks that can stand for each other: neighbours whose modules have weights of the same names
/// and shapes, behind shortcuts that are the identity.
pub fn interchangeable(blocks: &[Block], weights: &Weights) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (place, block) in blocks.iter().enumerate().filter(|(_, block)| block.is_identity) {
        let parts = part_shapes(weights, &block.name);
        if parts.is_empty() {
            continue;
        }
        match groups.last_mut() {
            Some(group) if part_shapes(weights, &blocks[group[0]].name) == parts => group.push(place),
            _ => groups.push(vec![place]),
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

/// An order of blocks: at each place the block that comes to stand there, after so many exchanges of two that
/// are [`interchangeable`].
///
/// # Panics
/// When exchanges are asked for and there are no groups.
pub fn shuffled_order(all: usize, groups: &[Vec<usize>], swaps: usize, seed: u64, draw: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..all).collect();
    let pairs: Vec<(usize, usize)> = groups
        .iter()
        .flat_map(|group| {
            group.iter().enumerate().flat_map(|(i, &a)| group[..i].iter().map(move |&b| (a, b)))
        })
        .collect();
    for swap in 0..swaps {
        // A stream of its own for every exchange of every draw.
        let (a, b) = pairs[shuffled(seed, draw << 20 | swap as u64, pairs.len())[0]];
        order.swap(a, b);
    }
    order
}

/// The weights with the blocks in another order.
///
/// # Errors
/// When blocks are exchanged that are not alike.
pub fn reorder(weights: &Weights, blocks: &[Block], order: &[usize]) -> Result<Weights> {
    let names: Vec<&str> = blocks.iter().map(|block| block.name.as_str()).collect();
    permute_modules(weights, &names, order)
}

/// Kendall's rank correlation of an order with the original one: 1 for the same, −1 for the reverse.
pub fn rank_correlation(order: &[usize]) -> f64 {
    let pairs = order.len() * order.len().saturating_sub(1) / 2;
    let inverted: usize =
        (0..order.len()).map(|i| order[i..].iter().filter(|&&x| x < order[i]).count()).sum();
    if pairs == 0 { 1.0 } else { 1.0 - 2.0 * inverted as f64 / pairs as f64 }
}

/// How many of the 2ⁿ paths of a net of `blocks` blocks go through the branches of `length` of them.
pub fn path_count(blocks: usize, length: usize) -> f64 {
    (0..length).fold(1.0, |count, i| count * (blocks - i) as f64 / (i + 1) as f64)
}

/// Norm of the gradient of an image's score, for its own class, with respect to the image, along the one path
/// through the branches of the blocks `through` and the shortcuts of all others (§5.1); mean over the images.
/// `tell` hears after every batch how many images are done, and stops the work by returning false: then there
/// is none.
///
/// # Errors
/// When a class does not exist or the network does not admit the images.
pub fn path_gradient_norm(
    subject: &Subject<'_>,
    images: &Tensor,
    labels: &[u32],
    through: &[usize],
    mut tell: impl FnMut(usize) -> bool,
) -> Result<Option<f64>> {
    let mut sum = 0.0;
    for range in batches(images) {
        let classes: Vec<usize> = labels[range.clone()].iter().map(|&label| label as usize).collect();
        let gradient = identity_path_gradient(subject, &part(images, &range), &classes, through)?;
        let norm = |image: &[f32]| image.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>().sqrt();
        sum += gradient.data().chunks(gradient.len() / range.len()).map(norm).sum::<f64>();
        if !tell(range.end) {
            return Ok(None);
        }
    }
    Ok(Some(sum / labels.len().max(1) as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_correlation_is_kendalls() {
        for (order, want) in [
            (vec![0, 1, 2, 3], 1.0),
            (vec![3, 2, 1, 0], -1.0),
            (vec![1, 0, 2, 3], 2.0 / 3.0),
            (vec![2, 1, 0, 3], 0.0),
            (vec![], 1.0),
        ] {
            assert!((rank_correlation(&order) - want).abs() < 1e-12, "{order:?}");
        }
    }

    #[test]
    fn paths_are_binomially_many() {
        assert!((path_count(4, 2) - 6.0).abs() < 1e-12 && (path_count(3, 0) - 1.0).abs() < 1e-12);
        // Shares of the 54 blocks of a net of 110 layers, from exact integers.
        let share = |lengths: std::ops::RangeInclusive<usize>| {
            lengths.map(|length| path_count(54, length)).sum::<f64>() / 2f64.powi(54)
        };
        for (lengths, want) in [(19..=35, 0.980_165_673_3), (5..=17, 0.004_536_670_2)] {
            assert!((share(lengths.clone()) - want).abs() < 1e-9, "{lengths:?}");
        }
    }

    #[test]
    fn draws_choose_and_shuffle_within_groups() {
        let mut often = [0; 6];
        for draw in 0..600 {
            let chosen = random_blocks(6, 2, 1, draw);
            assert!(chosen[0] < chosen[1]);
            for block in chosen {
                often[block] += 1;
            }
        }
        assert!(often.iter().all(|count| (150..250).contains(count)), "{often:?}");
        let groups = [vec![0, 1, 2], vec![4, 5]];
        let mut moved = false;
        for draw in 0..20 {
            let order = shuffled_order(6, &groups, 4, 3, draw);
            assert!(order[3] == 3 && order[..3].iter().all(|x| *x < 3) && order[4..].iter().all(|x| *x > 3));
            moved |= rank_correlation(&order) < 1.0;
        }
        assert!(moved && shuffled_order(6, &groups, 0, 3, 0) == [0, 1, 2, 3, 4, 5]);
        assert!(rank_correlation(&shuffled_order(6, &groups, 1, 3, 7)) < 1.0);
    }
}
