// Package git reads commits of a repository on disk, in any state that a checkout leaves it in, and of a remote, from which
// it fetches only what is read. It writes commits to branches of a remote, without any work tree.
//
// # Promises
//
//   - A work tree is never touched and a user's repository is never written to. Fetched objects go into an object cache of
//     our own.
//   - [Open] takes every kind of checkout that SHA-1 git makes: shallow, partial, sparse, linked, a submodule, one with
//     alternates, a bare one. Objects that are absent are fetched from the repository's remote by id.
//   - A [Remote] answers from its cache without any request when the objects are there. Else it asks for the commit, the
//     trees on the way, and the objects read, by id and with a filter (protocol versions 2 and 0 of gitprotocol-pack(5),
//     gitprotocol-v2(5)). If a server lacks filters or objects by id, more is fetched, and Options.Warn reports it.
//   - Every object is checked against its id each time it is read. A damaged entry of the cache is dropped and fetched
//     again.
//   - The cache may be shared by any number of processes: entries appear by rename and are named by their content.
//   - A [Draft] replaces folders of a commit; everything else stays byte for byte. [Remote.Push] moves several branches at
//     once, all or none, if they are still the bases of their drafts; else it returns [ErrStale].
//   - A push to a repository on this machine goes through git receive-pack: its hooks run and its configuration holds.
//   - A repository is reached as git's configuration says, as far as [Settings] lists: over HTTP, or by the ssh command. What it says
//     beyond that is named by a warning or an error, never ignored.
//   - A file of Git LFS has the size and the SHA-256 that its pointer names.
//   - Pushes of one branch each that wait for another one go together, and each is done or refused by itself.
//   - Errors of a push quote the server's response on one printable line.
//   - Errors, warnings and the cache contain no secrets.
//
// # Refusals
//
//   - SHA-256 repositories and the reftable format: a clear error.
//   - Abbreviated object ids.
//   - Symbolic links that lead out of the commit's tree, submodules, names that are not UTF-8 or that a checkout refuses,
//     objects above [MaxObjectBytes].
//   - A redirect of anything but the first request; credentials never follow one to another origin.
//   - Hosts and paths that ssh would take for options; a server of Git LFS at another origin.
//
// The git command is run for three purposes only: to read the effective configuration and to ask its credential helpers, if
// it is installed, and to push to a repository on this machine. The ssh command is run for repositories at its end. Grafts and replacement objects are ignored.
package git

// Bounds on everything read from outside.
const (
	// MaxObjectBytes is the largest commit, tree or file that is read.
	MaxObjectBytes = 64 << 20

	maxTreeEntries   = 1 << 17  // entries of one tree
	maxDepth         = 100      // folders below each other
	maxPrefetch      = 1 << 20  // objects below one prefetched path
	maxPaths         = 1 << 17  // files and folders below one folder that is listed
	maxLinks         = 40       // symbolic links followed for one name, as Linux does
	maxLinkBytes     = 4096     // length of a link's target
	maxAlternates    = 16       // object folders of one repository
	maxTagDepth      = 8        // tags that point at tags
	maxRefDepth      = 5        // symbolic references followed, as git does
	maxPackBytes     = 16 << 30 // one reply of a server
	maxPackObjects   = 50 << 20 // objects in one reply
	maxPackedObject  = 4 << 30  // one object in a pack, inflated
	maxLoosePack     = 2048     // objects of a reply that are stored one by one
	maxLooseBytes    = 256 << 20
	maxAdvertisement = 256 << 20 // the references of a server
	maxMessage       = 1024      // quoted bytes of a server's error
	maxPrinted       = 64 << 10  // of a server's output during a push
	maxRedirects     = 5
	maxAttempts      = 4
	maxConfigBytes   = 4 << 20
	maxTips          = 32  // histories known to be complete
	maxHaves         = 256 // commits named to a server as present
	firstHistory     = 200 // commits fetched before the whole history is
)
