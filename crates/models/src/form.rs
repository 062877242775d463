//! A network under its name.

/// A row of a paper's table of networks: what the registry calls a network, and what it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Form<T: 'static> {
    /// The name.
    pub name: &'static str,
    /// Other names that mean the same network.
    pub aliases: &'static [&'static str],
    /// How it differs from its sisters, in a few words.
    pub description: &'static str,
    /// The network.
    pub net: T,
}

impl<T> Form<T> {
    /// A form with a name and aliases.
    pub const fn new(
        name: &'static str,
        aliases: &'static [&'static str],
        description: &'static str,
        net: T,
    ) -> Self {
        Self { name, aliases, description, net }
    }

    /// Whether a name or an alias of the network.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }
}
