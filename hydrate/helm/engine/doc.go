// Package engine executes the templates of Helm charts. It imports no Helm: it is given templates and the values that they see.
//
// # What it promises
//
// The output is that of Helm's engine: templates are parsed in the same order (a chart replaces what its subcharts define, and
// what is empty replaces nothing), executed in the same order (one may change values that another sees), and call functions
// of the same names with the same results, but for those below. Files are parsed once an engine, and what renders with the same
// files have in common is assembled once.
//
// The output is a function of the templates and the request, in every process and on every machine:
//
//   - The clock is that of the request, in UTC (now, ago, date…, htmlDate…, durationRound), and so is a date that names no
//     zone (toDate). Time zones are those of the embedded IANA database.
//   - Random numbers (rand…, shuffle, uuidv4, bcrypt, htpasswd, encryptAES) are drawn from ChaCha8Rand, seeded by the request's seed
//     and the name of the executed template: no other template changes them. The result says whether any was drawn.
//   - Keys and certificates (gen…) come from Go's libraries, which take no seed: calling such a function is an error, unless
//     the request allows it. The result says so.
//   - What comes in the order of a Go map in Helm comes by keys (keys, values, .Files.AsConfig and AsSecrets of files with one base
//     name). merge and mergeOverwrite of values that do not fit are an error, where Helm returns "" and a random part of
//     the result. fromYaml reports keys that are one string in JSON (1 and "1"), where Helm takes any. printf refuses to print
//     addresses in memory.
//   - There is no environment (env and expandenv do not exist, as in Helm), no DNS (getHostByName returns "", as in Helm), no
//     operating system (osBase and its like are those of Linux), and no cluster: lookup finds nothing.
//
// # Limits
//
// include calls one template within itself at most 1000 times, as in Helm; tpl is limited like it, and both together. Execution is
// cancelled at calls of include and tpl and between templates. A template that loops without them, or that needs all
// memory, is the caller's to stop: [hydrate.Progress] names it before it is executed.
//
// A date has the method Local, which depends on the host's time zone: run in a process whose TZ is UTC.
package engine
