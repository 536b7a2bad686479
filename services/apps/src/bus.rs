//! The commands about apps.

use crate::{desk::Desk, reconciler::Reconciler};
use piccolo_bus_client::Handlers;
use piccolo_bus_schema::app::{
    Act, Install, List, ListEndpoints, Plan, ReadLogs, StopForLock, Validate,
};
use std::sync::Arc;

pub(crate) fn handlers(desk: &Arc<Desk>, reconciler: &Arc<Reconciler>) -> Handlers {
    let clone = || Arc::clone(desk);
    let (list, plan, install, act, logs, endpoints) =
        (clone(), clone(), clone(), clone(), clone(), clone());
    let stopping = Arc::clone(reconciler);
    Handlers::new()
        .on::<List, _, _>(move |_, _| {
            let apps = list.list();
            async move { apps }
        })
        .on::<Validate, _, _>(|command, _| async move { Ok(Desk::validate(&command.spec)) })
        .on::<Plan, _, _>(move |command, _| {
            let desk = Arc::clone(&plan);
            async move { desk.plan(&command.spec).await }
        })
        .on::<Install, _, _>(move |command, _| {
            let desk = Arc::clone(&install);
            async move { desk.install(command).await }
        })
        .on::<Act, _, _>(move |command, _| {
            let desk = Arc::clone(&act);
            async move { desk.act(command).await }
        })
        .on::<ReadLogs, _, _>(move |command, _| {
            let lines = logs.logs(&command);
            async move { lines }
        })
        .on::<ListEndpoints, _, _>(move |_, _| {
            let endpoints = endpoints.endpoints();
            async move { Ok(endpoints) }
        })
        .on::<StopForLock, _, _>(move |_, _| {
            let reconciler = Arc::clone(&stopping);
            async move { reconciler.stop_for_lock().await }
        })
}
