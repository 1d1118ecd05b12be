//! Why no cleanup helps a caller that is refused: part of what it is told.

/// See the [module](self).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Obstacle {
    None,
    Running,
    NothingSet,
    TooLittle,
    Panicked,
}

impl Obstacle {
    pub(crate) const ALL: [Self; 5] =
        [Self::None, Self::Running, Self::NothingSet, Self::TooLittle, Self::Panicked];

    /// In a refusal by the guardian's own quota.
    pub(crate) const fn of_the_whole(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Running => Some("a cleanup is running"),
            Self::NothingSet => Some("nothing is set that could free tokens"),
            Self::TooLittle => Some("the last cleanup could not free enough"),
            Self::Panicked => Some("the last cleanup panicked"),
        }
    }

    /// In a refusal by a pool within it.
    pub(crate) const fn of_a_pool(self) -> &'static str {
        match self {
            Self::None => "a limit of the pool that the lane is in, not of the whole",
            Self::Running => {
                "a limit of the pool that the lane is in, not of the whole; a cleanup of that pool is running"
            }
            Self::NothingSet => {
                "a limit of the pool that the lane is in, not of the whole; nothing is set that could free tokens"
            }
            Self::TooLittle => {
                "a limit of the pool that the lane is in, not of the whole; the last cleanup of that pool could not free enough"
            }
            Self::Panicked => {
                "a limit of the pool that the lane is in, not of the whole; the last cleanup of that pool panicked"
            }
        }
    }
}
