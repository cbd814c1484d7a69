using System.Text.Json;
using System.Text.Json.Serialization;

namespace Yizhan.Contracts;

/// <summary>The one way in which contracts become JSON: camelCase, as in the schemas of <c>contracts/schemas</c>.</summary>
/// <remarks>A record with a missing or null member that may not be null is refused, so that whoever reads one can trust its type.</remarks>
[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(InstanceStored))]
[JsonSerializable(typeof(AuditRecord))]
[JsonSerializable(typeof(WorkitemChanged))]
[JsonSerializable(typeof(CommitmentRequested))]
[JsonSerializable(typeof(CommitmentReported))]
[JsonSerializable(typeof(CommitmentReceived))]
[JsonSerializable(typeof(PerformedProcedureStep))]
[JsonSerializable(typeof(ProcedureScheduled))]
[JsonSerializable(typeof(CommitmentView))]
[JsonSerializable(typeof(EchoResult))]
[JsonSerializable(typeof(IReadOnlyList<PeerView>))]
[JsonSerializable(typeof(PeerQuery))]
[JsonSerializable(typeof(PeerStudy))]
[JsonSerializable(typeof(TransferResult))]
[JsonSerializable(typeof(SiteStatus))]
[JsonSerializable(typeof(DeviceMessage))]
[JsonSerializable(typeof(IReadOnlyList<LogEvent>))]
[JsonSerializable(typeof(IReadOnlyList<SiteView>))]
[JsonSerializable(typeof(IReadOnlyList<StudyView>))]
[JsonSerializable(typeof(IReadOnlyList<ReleaseView>))]
[JsonSerializable(typeof(ReleaseApproval))]
[JsonSerializable(typeof(IReadOnlyList<DestinationView>))]
[JsonSerializable(typeof(IReadOnlyList<DeliveryView>))]
[JsonSerializable(typeof(IReadOnlyList<ConflictView>))]
[JsonSerializable(typeof(ConflictDecision))]
[JsonSerializable(typeof(MovementBatch))]
[JsonSerializable(typeof(ItemDefinition))]
[JsonSerializable(typeof(RecordedBatch))]
[JsonSerializable(typeof(RecallView))]
[JsonSerializable(typeof(IReadOnlyList<StockView>))]
[JsonSerializable(typeof(IReadOnlyList<MovementView>))]
[JsonSerializable(typeof(IReadOnlyList<ItemDefinition>))]
[JsonSerializable(typeof(IReadOnlyList<ParkedBatch>))]
[JsonSerializable(typeof(IReadOnlyList<ModelView>))]
public sealed partial class ContractsJson : JsonSerializerContext;
