//! A list of methods as one argument, so that the images after it stay the only list of arguments.

use std::ffi::OsStr;

use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser};
use clap::error::ErrorKind;

use super::{Method, whole};

/// Methods that were separated by commas.
#[derive(Clone, Debug)]
pub(super) struct Methods(pub(super) Vec<Method>);

/// Reads the list.
#[derive(Clone)]
pub(super) struct Parser;

impl Parser {
    fn unknown(&self, name: &str) -> String {
        let methods = self.possible_values().into_iter().flatten();
        let for_images: Vec<String> = methods.map(|method| method.get_name().to_owned()).collect();
        format!(
            "METHOD: expected, for images, some of {}; or, for a whole network, one of {}; found {name}",
            for_images.join(", "),
            whole::names().join(", ")
        )
    }
}

impl TypedValueParser for Parser {
    type Value = Methods;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Methods, clap::Error> {
        let text = value.to_string_lossy();
        let method = |name: &str| {
            let found = EnumValueParser::<Method>::new().parse_ref(command, arg, name.as_ref());
            found.map_err(|_| clap::Error::raw(ErrorKind::InvalidValue, self.unknown(name)))
        };
        text.split(',').map(method).collect::<Result<_, _>>().map(Methods)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let names: Vec<PossibleValue> = EnumValueParser::<Method>::new().possible_values()?.collect();
        Some(Box::new(names.into_iter()))
    }
}
