import { mount } from 'svelte';
import App from './App.svelte';
import { listenToGate } from './api/http';
import { connection, followVisibility } from './live/connection.svelte';
import { router } from './router.svelte';
import { device } from './state/device.svelte';
import './styles/tokens.css';
import './styles/base.css';
import './styles/controls.css';
import './styles/table.css';

const askAgain = (): void => void device.refresh();

listenToGate(askAgain);
connection.onRefused = askAgain;
connection.watch(['lock.changed'], askAgain);
followVisibility();
router.follow();
void device.refresh();

const target = document.getElementById('portal');
if (target) mount(App, { target });
