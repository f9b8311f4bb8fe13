//! Enums whose variants each have one text: the steps of the jail, its layers, the checks from inside.
//!
//! Used in every process. It makes types, and must never hold a name of its own.

/// An enum without fields, with a text for each variant; `ALL` has the variants in the order of the list.
macro_rules! names {
    ($(#[$about:meta])+ $name:ident { $($(#[$about_one:meta])+ $one:ident => $text:expr,)+ }) => {
        $(#[$about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$about_one])+ $one,)+
        }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$one),+];

            /// Its text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$one => $text,)+ }
            }
        }
    };
}

pub(crate) use names;
