// dbos.mjs URL IN_FLIGHT SECONDS - workflows of two steps, each step's result checkpointed by DBOS in PostgreSQL.
import { DBOS } from '@dbos-inc/dbos-sdk';

const [url, inFlight, secs] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
DBOS.setConfig({ name: 'bench', systemDatabaseUrl: url, logLevel: 'error', runAdminServer: false, systemDatabasePoolSize: 32 });
const flow = DBOS.registerWorkflow(async (n) => {
	const decided = await DBOS.runStep(async () => ({ to: 'act', n }), { name: 'decide' });
	return await DBOS.runStep(async () => ({ changed: 0, n: decided.n }), { name: 'act' });
}, { name: 'flow' });
await DBOS.launch();
const begin = performance.now(), until = begin + secs * 1000, ms = [];
let n = 0;
await Promise.all(Array.from({ length: inFlight }, async () => {
	while (performance.now() < until) {
		const t = performance.now();
		await flow(n++);
		const end = performance.now();
		if (t > begin + 1000 && end <= until) ms.push(end - t);
	}
}));
ms.sort((a, b) => a - b);
const at = (p) => ms[Math.floor((ms.length - 1) * p)];
console.log(JSON.stringify({ rate: ms.length / (secs - 1), p50_ms: at(.5), p99_ms: at(.99), done: ms.length,
	cpu_s: (process.cpuUsage().user + process.cpuUsage().system) / 1e6 }));
await DBOS.shutdown();
process.exit(0);
