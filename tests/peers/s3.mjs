// s3.mjs PEER FOLDER BUCKET - see s3.sh. s3rver takes every signature of version 4, so the front here computes it anew, from the request as
// it arrived, before it hands the request on.
import { createHash, createHmac } from "node:crypto";
import { mkdirSync } from "node:fs";
import { createServer, request as call } from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [peer, folder, bucket] = process.argv.slice(2);
const S3rver = createRequire(peer + "/package.json")("s3rver");
const secret = "S3RVER";
mkdirSync(`${folder}/${bucket}`, { recursive: true });
const app = new S3rver({ directory: folder, silent: true, vhostBuckets: false });
const back = createServer(app.callback());
let failing = false;

const sha256 = (data) => createHash("sha256").update(data).digest("hex");
const hmac = (key, data) => createHmac("sha256", key).update(data).digest();

function signatureFault(request, body) {
	const said = /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/
		.exec(request.headers.authorization ?? "");
	if (!said) return "AccessDenied";
	const [, , day, region, names, signature] = said;
	const [path, query = ""] = request.url.split("?");
	const hash = request.headers["x-amz-content-sha256"];
	if (hash !== sha256(body)) return "XAmzContentSHA256Mismatch";
	if (!names.split(";").includes("host") || !names.split(";").includes("x-amz-content-sha256")) return "AccessDenied";
	const canonical = [
		request.method, path, query.split("&").filter(Boolean).sort().map((p) => (p.includes("=") ? p : p + "=")).join("&"),
		...names.split(";").map((name) => `${name}:${(request.headers[name] ?? "").trim().replace(/ +/g, " ")}`), "", names, hash,
	].join("\n");
	const toSign = ["AWS4-HMAC-SHA256", request.headers["x-amz-date"], `${day}/${region}/s3/aws4_request`, sha256(canonical)].join("\n");
	const key = hmac(hmac(hmac(hmac("AWS4" + secret, day), region), "s3"), "aws4_request");
	return hmac(key, toSign).toString("hex") === signature ? null : "SignatureDoesNotMatch";
}

function refuse(response, status, code) {
	response.writeHead(status, { "Content-Type": "application/xml" });
	response.end(`<?xml version="1.0"?><Error><Code>${code}</Code></Error>`);
}

const front = createServer(async (request, response) => {
	const chunks = [];
	for await (const chunk of request) chunks.push(chunk);
	const body = Buffer.concat(chunks);
	const fault = signatureFault(request, body);
	if (failing) return refuse(response, 503, "SlowDown");
	if (fault) return refuse(response, 403, fault);
	const on = call({ port: back.address().port, host: "127.0.0.1", method: request.method, path: request.url, headers: request.headers }, (answer) => {
		response.writeHead(answer.statusCode, answer.headers);
		answer.pipe(response);
	});
	on.on("error", () => refuse(response, 500, "InternalError"));
	on.end(body);
});
back.listen(0, "127.0.0.1", () => front.listen(0, "127.0.0.1", () => console.log("port " + front.address().port)));
createInterface({ input: process.stdin })
	.on("line", (word) => {
		failing = word === "fail";
		console.log(word);
	})
	.on("close", () => process.exit(0));
