//! How a step changes the weights, as a table of a recipe.

use residuum_engine::{LambStep, OptimiserKind, OptimiserStep, SgdStep};
use serde::{Deserialize, Serialize};

use crate::error::{Result, TrainError};

/// How a step changes the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Table", into = "Table")]
pub struct Optimiser {
    /// The full learning rate.
    pub lr: f64,
    /// Factor of the L2 penalty's gradient; with LAMB, of the weights in the update.
    pub weight_decay: f64,
    /// Which parameters decay.
    pub decay: Decayed,
    /// The rule, `kind` in a recipe.
    pub method: Method,
}

/// By which rule weights follow gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// Stochastic gradient descent with momentum, in PyTorch's form.
    Sgd {
        /// Share of the velocity that survives a step.
        momentum: f64,
        /// Whether the step looks ahead along the velocity.
        nesterov: bool,
    },
    /// LAMB (You et al. 2020) in timm's form; see [`LambStep`].
    Lamb {
        /// Shares of the two moments that survive a step.
        betas: [f64; 2],
        /// What keeps the update's denominator from 0.
        epsilon: f64,
        /// Largest norm of all gradients together; larger ones are scaled to it.
        max_norm: f64,
    },
}

/// Which parameters decay. The paper decays its convolutions; its best known re-implementations everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decayed {
    /// All that are learned.
    #[default]
    All,
    /// All but scales and shifts of batch norms.
    AllButNorms,
    /// Filters of convolutions and matrices of linear layers, neither biases nor batch norms.
    Filters,
}

impl From<Decayed> for residuum_engine::Decay {
    fn from(decay: Decayed) -> Self {
        match decay {
            Decayed::All => Self::All,
            Decayed::AllButNorms => Self::AllButNorms,
            Decayed::Filters => Self::Filters,
        }
    }
}

impl Method {
    /// The papers' momentum.
    const SGD: Self = Self::Sgd { momentum: 0.9, nesterov: false };
    /// timm's defaults.
    const LAMB: Self = Self::Lamb { betas: [0.9, 0.999], epsilon: 1e-6, max_norm: 1.0 };

    /// Every rule by its name, with the numbers that hold where none are given.
    pub const ALL: [(&str, Self); 2] = [("sgd", Self::SGD), ("lamb", Self::LAMB)];

    /// The rule of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, method)| *method)
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Sgd { .. } => Self::ALL[0].0,
            Self::Lamb { .. } => Self::ALL[1].0,
        }
    }

    /// What the network is compiled for.
    pub(crate) const fn kind(&self) -> OptimiserKind {
        match self {
            Self::Sgd { .. } => OptimiserKind::Sgd,
            Self::Lamb { .. } => OptimiserKind::Lamb,
        }
    }
}

impl Optimiser {
    /// A step at a learning rate.
    pub(crate) fn step(&self, lr: f64) -> OptimiserStep {
        let weight_decay = self.weight_decay;
        match self.method {
            Method::Sgd { momentum, nesterov } => {
                OptimiserStep::Sgd(SgdStep { lr, momentum, nesterov, weight_decay })
            }
            Method::Lamb { betas, epsilon, max_norm } => {
                OptimiserStep::Lamb(LambStep { lr, betas, epsilon, weight_decay, max_norm })
            }
        }
    }

    /// Whether the numbers make sense.
    pub(crate) fn check(&self) -> Result<()> {
        let share = |value: f64| (0.0..1.0).contains(&value);
        let positive = |value: f64| value.is_finite() && value as f32 > 0.0;
        let whole = |value: f64| value.is_finite() && value >= 0.0;
        let refuse = |key: &str, expected: &str, found: String| {
            Err(TrainError::Recipe(format!("recipe: optimiser.{key}: expected {expected}, found {found}")))
        };
        if !(self.lr.is_finite() && self.lr > 0.0) {
            return refuse("lr", "above 0", self.lr.to_string());
        }
        if !whole(self.weight_decay) {
            return refuse("weight_decay", "0 or more", self.weight_decay.to_string());
        }
        match self.method {
            Method::Sgd { momentum, .. } if !share(momentum) => {
                refuse("momentum", "0 to below 1", momentum.to_string())
            }
            Method::Lamb { betas, .. } if !betas.into_iter().all(share) => {
                refuse("betas", "two numbers from 0 to below 1", format!("{betas:?}"))
            }
            Method::Lamb { epsilon, .. } if !positive(epsilon) => {
                refuse("epsilon", "above 0", epsilon.to_string())
            }
            Method::Lamb { max_norm, .. } if !positive(max_norm) => {
                refuse("max_norm", "above 0", max_norm.to_string())
            }
            _ => Ok(()),
        }
    }
}

/// The keys as they are written; those of another kind have no place.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default = "sgd")]
    kind: String,
    lr: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    momentum: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nesterov: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    betas: Option<[f64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epsilon: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_norm: Option<f64>,
    #[serde(default = "default_weight_decay")]
    weight_decay: f64,
    #[serde(default)]
    decay: Decayed,
}

fn sgd() -> String {
    Method::SGD.name().into()
}

const fn default_weight_decay() -> f64 {
    1e-4
}

impl TryFrom<Table> for Optimiser {
    type Error = String;

    fn try_from(table: Table) -> std::result::Result<Self, String> {
        let Table { kind, lr, momentum, nesterov, betas, epsilon, max_norm, weight_decay, decay } = table;
        let of_sgd = [("momentum", momentum.is_some()), ("nesterov", nesterov.is_some())];
        let of_lamb =
            [("betas", betas.is_some()), ("epsilon", epsilon.is_some()), ("max_norm", max_norm.is_some())];
        let (method, foreign): (Method, &[(&str, bool)]) = match Method::named(&kind) {
            Some(Method::Sgd { momentum: usual, nesterov: ahead }) => {
                let (momentum, nesterov) = (momentum.unwrap_or(usual), nesterov.unwrap_or(ahead));
                (Method::Sgd { momentum, nesterov }, &of_lamb)
            }
            Some(Method::Lamb { betas: shares, epsilon: least, max_norm: most }) => {
                let betas = betas.unwrap_or(shares);
                let (epsilon, max_norm) = (epsilon.unwrap_or(least), max_norm.unwrap_or(most));
                (Method::Lamb { betas, epsilon, max_norm }, &of_sgd)
            }
            None => {
                let known = Method::ALL.map(|(name, _)| name).join(" or ");
                return Err(format!("optimiser.kind: expected {known}, found `{kind}`"));
            }
        };
        if let Some((key, _)) = foreign.iter().find(|(_, is_there)| *is_there) {
            return Err(format!("optimiser.{key}: expected a key of {kind}, found one of another kind"));
        }
        Ok(Self { lr, weight_decay, decay, method })
    }
}

impl From<Optimiser> for Table {
    fn from(optimiser: Optimiser) -> Self {
        let Optimiser { lr, weight_decay, decay, method } = optimiser;
        let kind = method.name().into();
        let (momentum, nesterov, betas, epsilon, max_norm) = match method {
            Method::Sgd { momentum, nesterov } => (Some(momentum), Some(nesterov), None, None, None),
            Method::Lamb { betas, epsilon, max_norm } => {
                (None, None, Some(betas), Some(epsilon), Some(max_norm))
            }
        };
        Self { kind, lr, momentum, nesterov, betas, epsilon, max_norm, weight_decay, decay }
    }
}
