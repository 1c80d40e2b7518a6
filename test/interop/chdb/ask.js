// Asks the ClickHouse engine of chdb. Arguments: the folder where chdb is installed, and one for the engine's own files.
// Standard input is a JSON list of questions in SQL; standard output, a line for each: {"rows": [[…], …]} or {"error": "…"}.
'use strict';

const path = require('path');
const fs = require('fs');

const [installed, own] = process.argv.slice(2);
const { Session } = require(path.join(installed, 'node_modules', 'chdb'));
const session = new Session(own);
for (const sql of JSON.parse(fs.readFileSync(0, 'utf8'))) {
  let answer;
  try {
    const lines = session.query(sql, 'JSONCompactEachRow').split('\n').filter((line) => line !== '');
    answer = { rows: lines.map((line) => JSON.parse(line)) };
  } catch (err) {
    answer = { error: String(err) };
  }
  fs.writeSync(1, JSON.stringify(answer) + '\n');
}
session.close();
