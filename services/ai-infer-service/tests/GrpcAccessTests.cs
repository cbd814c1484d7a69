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
