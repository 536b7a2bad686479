//! Whole-system stories: piccolod is started as its owner's machine would and driven from outside.

mod app_life;
mod browser;
mod first_boot;
mod leadership;
mod misfortune;
mod relay_comes_late;
mod road;
