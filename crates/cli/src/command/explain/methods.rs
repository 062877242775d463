//! A list of methods as one argument, so that the images after it stay the only list of arguments.

use std::ffi::OsStr;

use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser};

use super::Method;

/// Methods that were separated by commas.
#[derive(Clone, Debug)]
pub(super) struct Methods(pub(super) Vec<Method>);

/// Reads the list.
#[derive(Clone)]
pub(super) struct Parser;

impl TypedValueParser for Parser {
    type Value = Methods;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Methods, clap::Error> {
        let text = value.to_string_lossy();
        let method = |name: &str| EnumValueParser::<Method>::new().parse_ref(command, arg, name.as_ref());
        text.split(',').map(method).collect::<Result<_, _>>().map(Methods)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let names: Vec<PossibleValue> = EnumValueParser::<Method>::new().possible_values()?.collect();
        Some(Box::new(names.into_iter()))
    }
}
