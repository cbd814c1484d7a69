using System.Buffers.Binary;
using System.Net;
using Grpc.Core;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.AiInfer.Protocol;
using Yizhan.OpenInference.Grpc;
using Yizhan.Platform.Identity;

namespace Yizhan.AiInfer.Tests;

/// <summary>Walks over every method of the gRPC service: who has no token, another role or another site is refused, as on the routes.</summary>
[Trait("Clause", "S1")]
public sealed class GrpcAccessTests
{
    [Fact]
    public async Task Every_method_says_who_may_call_it_and_refuses_the_others()
    {
        await using var node = await Node.StartAsync(_ => { });
        var operators = node.Services.GetRequiredService<LocalOperator>();
        var wrong = new List<string>();
        var walked = 0;
        foreach (var method in GRPCInferenceService.Descriptor.Methods)
        {
            if (!GrpcAccess.Methods.TryGetValue(method.Name, out var needs))
            {
                if (await CallAsync(node.GrpcAs(operators.Token()), method.Name) != StatusCode.PermissionDenied)
                {
                    wrong.Add($"{method.Name} says nothing and answers");
                }

                continue;
            }

            if (needs is not { } permission)
            {
                continue;
            }

            walked++;
            var another = Roles.Names.First(role => (Roles.Of(role) & permission) != permission);
            var right = Roles.With(permission).First();
            foreach (var (who, token, expected) in new (string, string?, StatusCode)[]
            {
                ("nobody", null, StatusCode.Unauthenticated),
                ("nonsense", "nonsense", StatusCode.Unauthenticated),
                ("another service's", operators.Issue("somebody", right, "*", TimeSpan.FromMinutes(5), "yizhan/audit"), StatusCode.Unauthenticated),
                (another, operators.Issue("somebody", another, "site-a", TimeSpan.FromMinutes(5)), StatusCode.PermissionDenied),
                (right + " of another site", operators.Issue("somebody", right, "elsewhere", TimeSpan.FromMinutes(5)), StatusCode.PermissionDenied),
            })
            {
                var found = await CallAsync(node.GrpcAs(token), method.Name);
                if (found != expected)
                {
                    wrong.Add($"{method.Name} answers {who} with {found}");
                }
            }

            var own = await CallAsync(node.GrpcAs(operators.Issue("somebody", right, "site-a", TimeSpan.FromMinutes(5))), method.Name);
            if (own is StatusCode.Unauthenticated or StatusCode.PermissionDenied)
            {
                wrong.Add($"{method.Name} refuses a {right}");
            }
        }

        Assert.Empty(wrong);
        Assert.Equal(8, walked);
        Assert.Empty(GrpcAccess.Methods.Keys.Except(GRPCInferenceService.Descriptor.Methods.Select(m => m.Name)));
        Assert.True((await node.GrpcAs(null).ServerLiveAsync(new ServerLiveRequest(), cancellationToken: Node.Cancel)).Live);
    }

    [Fact]
    public async Task A_model_that_needs_a_licence_is_refused_in_the_protocols_own_words()
    {
        await using var node = await Node.StartAsync(_ => { }, "--licence:extras:0=ai.*");
        var refused = await Assert.ThrowsAsync<RpcException>(async () => await node.Grpc.ModelInferAsync(new ModelInferRequest { ModelName = "nodule" }, cancellationToken: Node.Cancel));
        Assert.Equal(StatusCode.PermissionDenied, refused.StatusCode);
        Assert.Contains("'ai.nodule' needs a licence", refused.Status.Detail, StringComparison.Ordinal);
        var (status, body) = await node.PostAsync("/v2/models/nodule/infer");
        Assert.Equal(403, status);
        Assert.Contains("needs a licence", body.GetProperty("error").GetString(), StringComparison.Ordinal);
    }

    /// <summary>A message of gRPC has its length in front: who has no token is answered without waiting for what it announces.</summary>
    [Theory]
    [InlineData("ModelInfer", StatusCode.Unauthenticated)]
    [InlineData("ServerLive", StatusCode.ResourceExhausted)]
    public async Task A_large_message_without_a_token_is_answered_before_it_is_read(string method, StatusCode expected)
    {
        await using var node = await Node.StartAsync(_ => { });
        using var http = new HttpClient { BaseAddress = node.GrpcAddress };
        using var body = new AnnouncedBody(200 * 1024 * 1024);
        using var request = new HttpRequestMessage(HttpMethod.Post, $"/{GRPCInferenceService.Descriptor.FullName}/{method}")
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = body,
        };
        using var answer = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, Node.Cancel).WaitAsync(TimeSpan.FromMinutes(2), Node.Cancel);
        Assert.Equal($"{(int)expected}", answer.Headers.GetValues("grpc-status").Single());
    }

    [Fact]
    public async Task Messages_that_are_announced_take_room_before_they_come()
    {
        await using var node = await Node.StartAsync(_ => { }, "--ai-infer:maxInFlightMiB=256");
        using var http = new HttpClient { BaseAddress = node.GrpcAddress };
        using var body = new AnnouncedBody(200 * 1024 * 1024);
        using var request = new HttpRequestMessage(HttpMethod.Post, $"/{GRPCInferenceService.Descriptor.FullName}/ModelInfer")
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = body,
        };
        request.Headers.Authorization = new("Bearer", node.Token);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Node.Cancel);
        var first = http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, stop.Token);
        var large = new ModelInferRequest { ModelName = "nobody", RawInputContents = { Google.Protobuf.ByteString.CopyFrom(new byte[100 * 1024 * 1024]) } };
        while (true)
        {
            // NotFound as long as the first one has not been looked at; then there is no room for both.
            var refused = await Assert.ThrowsAsync<RpcException>(async () => await node.Grpc.ModelInferAsync(large, cancellationToken: Node.Cancel));
            if (refused.StatusCode == StatusCode.ResourceExhausted)
            {
                break;
            }

            Assert.Equal(StatusCode.NotFound, refused.StatusCode);
        }

        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => first);
        while (true)
        {
            var refused = await Assert.ThrowsAsync<RpcException>(async () => await node.Grpc.ModelInferAsync(large, cancellationToken: Node.Cancel));
            if (refused.StatusCode == StatusCode.NotFound)
            {
                return;
            }
        }
    }

    /// <summary>A body that says how long it will be and never comes.</summary>
    private sealed class AnnouncedBody : HttpContent
    {
        private readonly TaskCompletionSource _over = new();
        private readonly byte[] _prefix = new byte[5];

        public AnnouncedBody(int length)
        {
            BinaryPrimitives.WriteInt32BigEndian(_prefix.AsSpan(1), length);
            Headers.ContentType = new("application/grpc");
        }

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => SerializeToStreamAsync(stream, context, CancellationToken.None);

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
        {
            await stream.WriteAsync(_prefix, cancellationToken);
            await stream.FlushAsync(cancellationToken);
            await _over.Task.WaitAsync(cancellationToken);
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }

        protected override void Dispose(bool disposing)
        {
            _over.TrySetResult();
            base.Dispose(disposing);
        }
    }

    private static async Task<StatusCode> CallAsync(GRPCInferenceService.GRPCInferenceServiceClient client, string name)
    {
        var method = typeof(GRPCInferenceService.GRPCInferenceServiceClient).GetMethods()
            .First(m => m.Name == name + "Async" && m.GetParameters() is [_, { ParameterType: var options }] && options == typeof(CallOptions));
        var request = Activator.CreateInstance(method.GetParameters()[0].ParameterType)!;
        try
        {
            dynamic call = method.Invoke(client, [request, new CallOptions(cancellationToken: Node.Cancel)])!;
            await call.ResponseAsync;
            return StatusCode.OK;
        }
        catch (RpcException e)
        {
            return e.StatusCode;
        }
    }
}
